"""ASE's databases for the tests, written by ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["connect", "some_atoms", "state", "write"]


def connect(path: Path) -> Any:
    from ase.db import connect as connect_ase

    return connect_ase(path, type="aselmdb" if path.suffix == ".aselmdb" else "db")


def some_atoms(n: int) -> list[Any]:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(n)
    atoms = []
    for k in range(n):
        size = int(rng.integers(1, 9))
        one = Atoms(rng.integers(1, 90, size), rng.normal(size=(size, 3)) * 4, cell=rng.normal(size=(3, 3)) + 9 * np.eye(3))
        one.pbc = [(True, True, True), (True, False, True), (False, False, False)][k % 3]
        one.calc = SinglePointCalculator(one, energy=-0.5 * k, forces=rng.normal(size=(size, 3)))
        atoms.append(one)
    return atoms


def write(path: Path, atoms: list[Any], pairs: Any = lambda _: {}, data: Any = lambda _: {}) -> Path:
    with connect(path) as db:
        for k, one in enumerate(atoms):
            db.write(one, key_value_pairs=pairs(k), data=data(k))
    path.with_name(path.name + "-lock").unlink(missing_ok=True)
    return path


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
