"""Many crystals as a few flat arrays: a crystal is a slice of them, never an object on the hot path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cgfast import _arrays
from cgfast._geometry import complete_cell, find_problems

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Crystals", "complete_cell"]

_FIELDS = ("positions", "cell", "pbc", "atomic_numbers", "graph_ptr", "ids")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Crystals:
    """A batch of B crystals with N atoms in all. Immutable: slices share memory, so do not write into it.

    Make one with `from_arrays`, `from_pymatgen`, `from_ase`, `concatenate` or `cgfast.io.read`.

    Attributes:
        positions: (N, 3) float64, Å, Cartesian; atoms may lie outside the cell.
        cell: (B, 3, 3) float64, Å; rows are lattice vectors; rows of open axes are ignored.
        pbc: (B, 3) bool, which axes are periodic.
        atomic_numbers: (N,) int32.
        graph_ptr: (B + 1,) int64; atoms of crystal b are ``graph_ptr[b]:graph_ptr[b + 1]``.
        ids: (B,) of NumPy's fixed-width string type.
    """

    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    atomic_numbers: NDArray[np.int32]
    graph_ptr: NDArray[np.int64]
    ids: NDArray[np.str_]

    @classmethod
    def from_arrays(
        cls,
        positions: ArrayLike,
        cell: ArrayLike | None,
        atomic_numbers: ArrayLike,
        *,
        pbc: ArrayLike | bool | None = None,
        graph_ptr: ArrayLike | None = None,
        ids: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> Crystals:
        """Check shapes and types and wrap arrays, without copying where they already fit.

        Geometry is not judged here (`problems` does that), so one bad crystal never stops a batch.

        Args:
            positions: (N, 3) numbers, Å, Cartesian.
            cell: (B, 3, 3), or (3, 3) for one crystal, Å; None for open boundaries on all axes.
            atomic_numbers: (N,) integers.
            pbc: One bool, (3,) or (B, 3) bool. Default: True, or False when ``cell`` is None.
            graph_ptr: (B + 1,) integers from 0 to N, never falling. Default: all atoms are one crystal.
            ids: B strings. Default: "0", "1", ...

        Raises:
            ValueError: A wrong shape, type or length; the message names the argument, what came and what was expected.
        """
        xyz = _arrays.floats("positions", positions, (None, 3))
        n_atoms = len(xyz)
        numbers = _arrays.integers("atomic_numbers", atomic_numbers, np.int32)
        if len(numbers) != n_atoms:
            _arrays.refuse("atomic_numbers", f"length {len(numbers)}", f"{n_atoms}, one for each row of positions")
        ptr = _arrays.graph_pointers(graph_ptr, n_atoms)
        n_crystals = len(ptr) - 1
        if cell is None:
            vectors = np.zeros((n_crystals, 3, 3))
        else:
            vectors = _arrays.any_array("cell", cell)
            if vectors.ndim == 2 and n_crystals == 1:
                vectors = vectors[None]
            vectors = _arrays.floats("cell", vectors, (n_crystals, 3, 3))
        names = _arrays.names(ids, n_crystals)
        flags = _arrays.flags((cell is not None) if pbc is None else pbc, n_crystals)
        return cls(xyz, vectors, flags, numbers, ptr, names)

    @classmethod
    def from_pymatgen(cls, structures: Any, ids: Sequence[str] | None = None) -> Crystals:  # noqa: ANN401
        """Crystals from one pymatgen ``Structure`` or a sequence of them; D and T become H.

        Raises:
            ValueError: A structure is disordered or holds something that is no element.
        """
        from cgfast import _conversions

        return _conversions.from_pymatgen(structures, ids)

    @classmethod
    def from_ase(cls, atoms: Any, ids: Sequence[str] | None = None) -> Crystals:  # noqa: ANN401
        """Crystals from one ASE ``Atoms`` or a sequence of them, with their pbc.

        Raises:
            ValueError: An entry is no ``Atoms``, or is disordered (ASE's ``info["occupancy"]``).
        """
        from cgfast import _conversions

        return _conversions.from_ase(atoms, ids)

    def to_pymatgen(self) -> list[Any]:
        """B pymatgen ``Structure`` objects, without ids; open axes get unit normals for lattice vectors."""
        from cgfast import _conversions

        return _conversions.to_pymatgen(self)

    def to_ase(self) -> list[Any]:
        """B ASE ``Atoms`` objects (ids are not carried)."""
        from cgfast import _conversions

        return _conversions.to_ase(self)

    @classmethod
    def concatenate(cls, batches: Iterable[Crystals]) -> Crystals:
        """All crystals of several batches in order, copied into new arrays. No batches give an empty one."""
        parts = list(batches)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return _EMPTY
        counts = np.concatenate([np.diff(p.graph_ptr) for p in parts])
        return cls(
            np.concatenate([p.positions for p in parts]),
            np.concatenate([p.cell for p in parts]),
            np.concatenate([p.pbc for p in parts]),
            np.concatenate([p.atomic_numbers for p in parts]),
            _arrays.pointers(counts),
            np.concatenate([p.ids for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.graph_ptr) - 1

    @property
    def n_atoms(self) -> int:
        """Number of atoms N in the whole batch."""
        return len(self.positions)

    @overload
    def __getitem__(self, key: int) -> Crystals: ...
    @overload
    def __getitem__(self, key: slice | NDArray[Any] | Sequence[int] | Sequence[bool]) -> Crystals: ...
    def __getitem__(self, key: Any) -> Crystals:
        """A batch of the chosen crystals: an int gives a batch of one; a slice of step 1 shares memory."""
        if isinstance(key, int | np.integer) and not isinstance(key, bool):
            index = int(key)
            if not -len(self) <= index < len(self):
                message = f"crystal {index} of a batch of {len(self)}"
                raise IndexError(message)
            index %= len(self)
            return self._view(index, index + 1)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._view(start, max(start, stop))
            return self._take(np.arange(start, stop, step, dtype=np.int64))
        chosen = np.asarray(key)
        if chosen.dtype == np.bool_:
            if chosen.shape != (len(self),):
                _arrays.refuse("mask", f"shape {chosen.shape}", f"({len(self)},), one flag a crystal")
            return self._take(np.flatnonzero(chosen))
        if chosen.size == 0:
            return self._view(0, 0)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            _arrays.refuse(
                "index",
                f"{chosen.dtype} of shape {chosen.shape}",
                "an int, a slice, or a 1-D integer or bool array",
            )
        low, high = int(chosen.min()), int(chosen.max())
        if low < -len(self) or high >= len(self):
            message = f"crystals {low}..{high} of a batch of {len(self)}"
            raise IndexError(message)
        return self._take(chosen.astype(np.int64) % len(self))

    def _view(self, start: int, stop: int) -> Crystals:
        first, last = int(self.graph_ptr[start]), int(self.graph_ptr[stop])
        pointers = self.graph_ptr[start : stop + 1]
        return Crystals(
            self.positions[first:last],
            self.cell[start:stop],
            self.pbc[start:stop],
            self.atomic_numbers[first:last],
            pointers - first if first else pointers,
            self.ids[start:stop],
        )

    def _take(self, index: NDArray[np.int64]) -> Crystals:
        counts = np.diff(self.graph_ptr)[index]
        pointers = _arrays.pointers(counts)
        atoms = np.arange(pointers[-1], dtype=np.int64) + np.repeat(self.graph_ptr[index] - pointers[:-1], counts)
        return Crystals(
            self.positions[atoms],
            self.cell[index],
            self.pbc[index],
            self.atomic_numbers[atoms],
            pointers,
            self.ids[index],
        )

    def __iter__(self) -> Iterator[Crystals]:
        for index in range(len(self)):
            yield self._view(index, index + 1)

    def __eq__(self, other: object) -> bool:
        """Same crystals, atom by atom and bit by bit, with the same ids (NaN equals nothing)."""
        if not isinstance(other, Crystals):
            return NotImplemented
        return all(bool(np.array_equal(getattr(self, name), getattr(other, name))) for name in _FIELDS)

    def __repr__(self) -> str:
        if not len(self):
            return "Crystals(0 crystals)"
        shown = ", ".join(repr(str(name)) for name in self.ids[:3]) + (", ..." if len(self) > 3 else "")
        crystals = "1 crystal" if len(self) == 1 else f"{len(self)} crystals"
        atoms = "1 atom" if self.n_atoms == 1 else f"{self.n_atoms} atoms"
        return f"Crystals({crystals}, {atoms}: {shown})"

    def problems(self, max_atomic_number: int = 118) -> dict[int, str]:
        """Which crystals cannot be used, and why: index -> reason; empty when all is well.

        Looks for non-finite or absurdly large positions and cells, cells with no volume or thinner than 0.01
        Å on their periodic axes, densities no matter has (under 0.1 Å³ an atom), no atoms, and atomic numbers
        outside 1..``max_atomic_number``. Distances between atoms are not judged.
        """
        return find_problems(self.positions, self.cell, self.pbc, self.atomic_numbers, self.graph_ptr, max_atomic_number)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write one ``.npy`` file an array into ``folder`` (made if need be); `load` reads them back.

        What the folder held is replaced by rename when all is written, so saving into the folder that these very
        arrays are mapped from is safe.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        parts = {name: target / f"{name}.npy.part" for name in _FIELDS}
        try:
            for name, part in parts.items():
                with part.open("wb") as file:
                    np.save(file, getattr(self, name), allow_pickle=False)
            for name, part in parts.items():
                part.replace(target / f"{name}.npy")
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, mmap: bool = True) -> Crystals:
        """Read what `save` wrote, memory-mapped and read-only unless ``mmap=False``.

        Raises:
            ValueError: A file is missing, is no NumPy array, or the arrays do not fit together.
        """
        source = Path(folder)
        arrays: dict[str, Any] = {}
        for name in _FIELDS:
            path = source / f"{name}.npy"
            try:
                array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
            except FileNotFoundError:
                message = f"{source} holds no saved Crystals: {path.name} is missing"
                raise ValueError(message) from None
            except (OSError, ValueError, EOFError) as error:
                message = f"{path} cannot be read as a NumPy array: {error}"
                raise ValueError(message) from None
            arrays[name] = array
        return cls.from_arrays(**arrays)


_EMPTY = Crystals.from_arrays(np.empty((0, 3)), np.empty((0, 3, 3)), np.empty(0, np.int32), graph_ptr=[0], ids=[])
