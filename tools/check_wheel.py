"""Looks at an installed wheel:   python -P tools/check_wheel.py cpu|cuda

That it holds CUDA kernels or none as its name says, for every architecture, and that its core computes without a GPU.
"""

from __future__ import annotations

import sys

import numpy as np

import cgfast
from cgfast import _core

ARCHITECTURES = {"75", "80", "86", "89", "90", "100", "120"}


def problems(kind: str, architectures: str, *, built: bool) -> list[str]:
    """What is wrong with a build, if anything."""
    if built != (kind == "cuda"):
        return [f"a {kind} wheel that holds {'CUDA kernels' if built else 'no CUDA kernels'}"]
    missing = ARCHITECTURES - {name.partition("-")[0] for name in architectures.split()} if built else set()
    return [f"no code for {', '.join(sorted(missing, key=int))}"] if missing else []


def main() -> int:
    """0 if all is well."""
    found = problems(sys.argv[1], _core.cuda_architectures(), built=_core.cuda_built())
    edges = cgfast.neighbor_list(np.zeros((1, 3)), np.eye(3) * 2.0, pbc=True, cutoff=2.5).n_edges
    if edges != 6:
        found.append(f"a simple cubic lattice has 6 nearest neighbours, got {edges}")
    print("\n".join(found) or f"a good {sys.argv[1]} wheel")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
