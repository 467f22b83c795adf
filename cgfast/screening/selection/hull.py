"""Energy above the convex hull of reference entries, for the rows of a table of predictions."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from cgfast._optional import require
from cgfast.screening.columns import FLAGS
from cgfast.screening.selection.reference_entries import file_sha256, read_references

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

__all__ = ["HULL_COLUMN", "HULL_UNIT", "NO_REFERENCE", "Hull", "HullEnergies"]

HULL_COLUMN = "energy_above_hull_eV_per_atom"
HULL_UNIT = "eV/atom"
NO_REFERENCE = "no_hull_reference"
FORMATION = "formation_energy_per_atom_eV"
TOTAL = "final_energy_per_atom_eV"

# From so many elements on, a linear program per composition costs less than all facets of the system.
_MANY_ELEMENTS = 6
_CACHED_NUMBERS = 1 << 23  # of facets: 64 MiB


class HullEnergies:
    """The lower convex hull of reference compositions, system by system.

    `fractions` (C, 119) float64 are the compositions by atomic number, `energies` (C,) float64 their energies in eV/atom.
    The hull of a chemical system is that of all references in it. It is the largest of the planes through its facets, which
    Qhull finds, as for pymatgen's PhaseDiagram (Ong et al., Chem. Mater. 20, 1798 (2008)); they are kept, so that rows of one
    system cost a matrix product. With six elements and more a linear program per composition takes their place.
    """

    def __init__(self, fractions: NDArray[np.float64], energies: NDArray[np.float64]) -> None:
        require("scipy", "pymatgen")
        self._present = fractions > 0
        self._elements = _lowest_of_elements(fractions, energies, self._present)
        known = ~(self._present & np.isnan(self._elements)).any(axis=1)
        formation = energies[known] - fractions[known] @ np.nan_to_num(self._elements)
        below = formation < 0  # the others lie on or above the plane of the elements
        self._fractions = fractions[known][below]
        self._formation = formation[below]
        self._unknown = np.isnan(self._elements)
        self._systems = _bits(self._present[known][below])
        self._planes: OrderedDict[bytes, NDArray[np.float64]] = OrderedDict()
        self._n_numbers = 0

    def elements(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B,) eV/atom: the energy of each of the compositions (B, 119) as a mixture of elements; NaN if one is missing."""
        missing = ((fractions > 0) & np.isnan(self._elements)).any(axis=1)
        mixture: NDArray[np.float64] = fractions @ np.nan_to_num(self._elements)
        mixture[missing] = np.nan
        return mixture

    def formation(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B,) eV/atom: the hull's formation energy at each of the compositions (B, 119); NaN if an element is missing."""
        present = fractions > 0
        packed = np.packbits(present, axis=1)
        systems, which = np.unique(packed, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        ends = np.searchsorted(which.ravel()[order], np.arange(1, len(systems) + 1)).tolist()
        hull = np.full(len(fractions), np.nan)
        start = 0
        for end in ends:
            rows = order[start:end]
            start = end
            elements = np.flatnonzero(present[rows[0]])
            if not self._unknown[elements].any():
                hull[rows] = self._of_system(elements, fractions[rows][:, elements])
        return hull

    def _of_system(self, elements: NDArray[np.intp], points: NDArray[np.float64]) -> NDArray[np.float64]:
        key = elements.astype(np.uint8).tobytes()
        if key in self._planes:
            self._planes.move_to_end(key)
            planes = self._planes[key]
        else:
            inside = self._inside(elements)
            if not len(inside) or len(elements) == 1:
                return np.zeros(len(points))
            references = self._fractions[inside][:, elements]
            if len(elements) >= _MANY_ELEMENTS:
                return _by_linear_programs(references, self._formation[inside], points)
            planes = _facet_planes(references, self._formation[inside])
            self._keep(key, planes)
        return np.asarray((points @ planes).max(axis=1))

    def _inside(self, elements: NDArray[np.intp]) -> NDArray[np.intp]:
        """References that hold none but these elements."""
        allowed = np.zeros((1, self._fractions.shape[1]), dtype=bool)
        allowed[:, elements] = True
        outside = ~_bits(allowed)[0]
        return np.flatnonzero(((self._systems[:, 0] & outside[0]) | (self._systems[:, 1] & outside[1])) == 0)

    def _keep(self, key: bytes, planes: NDArray[np.float64]) -> None:
        self._planes[key] = planes
        self._n_numbers += planes.size
        while self._n_numbers > _CACHED_NUMBERS and len(self._planes) > 1:
            self._n_numbers -= self._planes.popitem(last=False)[1].size


class Hull:
    """Adds `energy_above_hull_eV_per_atom` to tables of predictions, before their flags.

    Args:
        path: Reference entries, see `read_references`.
        names: The prediction columns. A formation energy (`formation_energy_per_atom_eV`) is compared with those of the
            references: their energies with corrections, less the lowest of each element among them. Without one, a total
            energy (`final_energy_per_atom_eV`), which is what a DFT code prints, with their energies without corrections.

    Raises ValueError: no prediction column, or several, that can be compared; a file that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], names: Sequence[str]) -> None:
        self.source, self._is_formation = _energy_column(names)
        self.sha256 = file_sha256(path)
        self._energies = HullEnergies(*read_references(path, corrected=self._is_formation))
        self._position = len(names) + 1

    def add(self, table: pa.Table, crystals: Crystals) -> pa.Table:
        """The table (B rows) of B crystals with the energies; null and a flag where an element has no reference."""
        import pyarrow as pa

        fractions = _fractions(crystals)
        values = np.asarray(table.column(self.source).to_numpy())
        above = values - self._energies.formation(fractions)
        if not self._is_formation:
            above -= self._energies.elements(fractions)
        missing = np.isnan(above)
        names = [f"input.{name}" if name == HULL_COLUMN else name for name in table.column_names]
        table = table.rename_columns(names) if names != table.column_names else table
        flags = table.column_names.index(FLAGS)
        if missing.any():
            table = table.set_column(flags, FLAGS, _flagged(table.column(FLAGS), pa.array(missing)))
        return table.add_column(self._position, HULL_COLUMN, pa.array(above, pa.float64(), mask=missing))


def _flagged(flags: pa.ChunkedArray, where: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    alone = pc.equal(flags, "ok")
    longer = pc.binary_join_element_wise(flags, pa.scalar(NO_REFERENCE), ";")
    return pc.if_else(where, pc.if_else(alone, pa.scalar(NO_REFERENCE), longer), flags)


def _energy_column(names: Sequence[str]) -> tuple[str, bool]:
    """The column to compare with the hull, and whether it is a formation energy."""
    if HULL_COLUMN in names:
        msg = f"hull: a model predicts {HULL_COLUMN} already"
        raise ValueError(msg)
    for wanted in (FORMATION, TOTAL):
        found = [name for name in names if name == wanted or name.endswith(f".{wanted}")]
        if len(found) > 1:
            msg = f"hull: got several energies ({', '.join(found)}), expected one"
            raise ValueError(msg)
        if found:
            return found[0], wanted == FORMATION
    msg = f"hull: needs a prediction column {FORMATION} or {TOTAL}; the prediction columns are {', '.join(names)}"
    raise ValueError(msg)


def _fractions(crystals: Crystals) -> NDArray[np.float64]:
    """(B, 119) share of each atomic number in B crystals."""
    counts = np.diff(crystals.graph_ptr)
    crystal = np.repeat(np.arange(len(counts)), counts)
    found = np.bincount(crystal * 119 + crystals.atomic_numbers, minlength=len(counts) * 119).reshape(-1, 119)
    return np.asarray(found / np.maximum(counts, 1)[:, None], dtype=np.float64)


def _bits(present: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n, 2): the elements of each of n compositions (n, 119) as bits."""
    packed = np.packbits(np.pad(present, ((0, 0), (0, 128 - present.shape[1]))), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64)


def _lowest_of_elements(
    fractions: NDArray[np.float64], energies: NDArray[np.float64], present: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(119,) lowest energy per atom of each pure element, NaN where there is none."""
    lowest = np.full(fractions.shape[1], np.inf)
    pure = np.flatnonzero(present.sum(axis=1) == 1)
    np.minimum.at(lowest, np.argmax(present[pure], axis=1), energies[pure])
    lowest[np.isinf(lowest)] = np.nan
    return lowest


def _facet_planes(fractions: NDArray[np.float64], formation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d, F): the lower hull at a composition x (d,) is the largest component of x @ planes.

    The references (n, d), all with a negative formation energy (n,), and the d elements at zero are the points.
    """
    spatial = require("scipy.spatial", "pymatgen")
    n_elements = fractions.shape[1]
    above = np.full((1, n_elements), 1.0 / n_elements)
    corners = np.vstack([np.eye(n_elements), above, fractions])[:, 1:]
    heights = np.concatenate([np.zeros(n_elements), [1.0], formation])
    # A facet's equation is normal . (x, height) + offset = 0; those that look down have a negative last component.
    equations = spatial.ConvexHull(np.column_stack([corners, heights])).equations
    equations = np.unique(equations[equations[:, -2] < -1e-12].round(14), axis=0)
    slopes = -equations[:, :-2] / equations[:, -2:-1]
    offset = -equations[:, -1] / equations[:, -2]
    # As fractions add up to one, an offset may be spread over them: height = sum_i x_i (slope_i + offset), slope_0 = 0.
    return np.ascontiguousarray(np.column_stack([offset, slopes + offset[:, None]]).T)


def _by_linear_programs(
    fractions: NDArray[np.float64], formation: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The lower hull (B,) at compositions (B, d): the cheapest mixture of references (n, d) and elements, one by one."""
    optimize = require("scipy.optimize", "pymatgen")
    mixture = np.vstack([np.eye(points.shape[1]), fractions]).T
    costs = np.concatenate([np.zeros(points.shape[1]), formation])
    unique, which = np.unique(points, axis=0, return_inverse=True)
    found = [optimize.linprog(costs, A_eq=mixture, b_eq=point, method="highs").fun for point in unique]
    return np.array(found, dtype=np.float64)[which.ravel()]
