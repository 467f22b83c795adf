"""The two files of a screening run: written part by part, resumed, divided into shards, merged."""
