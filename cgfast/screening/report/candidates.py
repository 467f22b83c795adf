"""The best rows of a table of predictions, with what a page needs to show them and to draw their structures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.crystals import complete_cell
from cgfast.elements import SYMBOLS
from cgfast.formulas import readable_formula
from cgfast.screening.report.element_style import colour, radius

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

MOST_ATOMS = 1000  # of a structure that is drawn: beyond it a picture shows nothing any more
_DIGITS = 4  # of coordinates in Å


@dataclass
class Candidate:
    """A row of output: its id, its values by column, its flags, and its structure where it was found."""

    id: str
    values: dict[str, float | None]
    flags: str
    crystal: Crystals | None = field(default=None)

    @property
    def formula(self) -> str:
        """Reduced formula; empty where the structure is not known."""
        return "" if self.crystal is None else readable_formula(self.crystal.atomic_numbers)

    @property
    def n_atoms(self) -> int | None:
        """Atoms in the cell."""
        return None if self.crystal is None else len(self.crystal.atomic_numbers)


def page_data(candidates: Iterable[Candidate]) -> dict[str, Any]:
    """What the page's script draws from, as plain JSON types.

    `elements`: atomic number -> symbol, colour, radius (Å). `candidates`: for each id, formula, facts ([name, text], ...) and
    either `why` there is no picture, or `numbers`, `cell` (rows in Å; open axes completed by unit normals), `pbc`, and
    `fractions`, the places of the atoms in units of the cell's vectors, on periodic axes within [0, 1).
    """
    shown = list(candidates)
    drawn = [_candidate_data(candidate) for candidate in shown]
    numbers = sorted({z for data in drawn for z in data.get("numbers", ())})
    elements = {str(z): {"symbol": SYMBOLS[z], "colour": colour(z), "radius": radius(z)} for z in numbers}
    return {"elements": elements, "candidates": drawn}


def _candidate_data(candidate: Candidate) -> dict[str, Any]:
    data: dict[str, Any] = {"id": candidate.id, "formula": candidate.formula}
    crystal = candidate.crystal
    if crystal is None:
        return {**data, "facts": [], "why": "The structure was not found in the input."}
    cell, pbc = complete_cell(crystal.cell[0], crystal.pbc[0]), crystal.pbc[0]
    data["facts"] = [["atoms", f"{len(crystal.atomic_numbers):,}"], *_cell_facts(cell, pbc)]
    if len(crystal.atomic_numbers) > MOST_ATOMS:
        return {**data, "why": f"Structures of more than {MOST_ATOMS:,} atoms are not drawn."}
    fractions = np.linalg.solve(cell.T, crystal.positions.T).T
    fractions = np.round(np.where(pbc, fractions - np.floor(fractions), fractions), _DIGITS + 1)
    fractions[pbc & (fractions >= 1.0)] = 0.0  # the same place
    return {
        **data,
        "numbers": crystal.atomic_numbers.tolist(),
        "cell": np.round(cell, _DIGITS).tolist(),
        "pbc": pbc.tolist(),
        "fractions": (fractions + 0.0).tolist(),
    }


def _cell_facts(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> list[list[str]]:
    lengths = np.linalg.norm(cell, axis=1)
    facts = [[name, f"{length:.3f} Å"] for name, length, periodic in zip("abc", lengths, pbc, strict=True) if periodic]
    for name, i, j in (("α", 1, 2), ("β", 0, 2), ("γ", 0, 1)):
        if pbc[i] and pbc[j]:
            cosine = float(cell[i] @ cell[j] / (lengths[i] * lengths[j]))
            facts.append([name, f"{math.degrees(math.acos(min(max(cosine, -1.0), 1.0))):.2f}°"])
    if pbc.all():
        facts.append(["volume", f"{abs(float(np.linalg.det(cell))):.2f} Å³"])
    return facts
