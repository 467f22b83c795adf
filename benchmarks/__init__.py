"""Benchmarks against the packages people use today: see README.md in this folder."""
