"""Program: print the instruction set in use and a hash of the neighbour lists of every case."""

from __future__ import annotations

import hashlib

import numpy as np
from crystals import CASES  # run as a program, this file finds its neighbours by their plain names

import cgfast
from cgfast import _core


def digest() -> str:
    """Hash the radius and k-nearest lists of every case."""
    state = hashlib.sha256()
    for case in CASES:
        for options in ({}, {"max_neighbors": 12, "ties": "shell"}):
            result = cgfast.neighbor_list(*case.search, **options, threads=1)
            for name in ("edge_index", "shifts", "distances", "row_ptr"):
                state.update(np.ascontiguousarray(getattr(result, name)).tobytes())
    return state.hexdigest()


if __name__ == "__main__":
    print(_core.isa(), digest())  # noqa: T201 - its only output
