"""Which predictions go to the output, and in what order they are shown: where, best of, top, energy above hull."""
