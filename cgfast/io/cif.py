"""CIF: gemmi reads the syntax; symmetry, occupancies and atom order follow pymatgen's parser, vectorised.

Atoms come out as pymatgen's CifParser (and so the 2018 code) lists them: by rising electronegativity, then in
file order. The order matters to a model only where neighbours tie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cgfast import elements
from cgfast.io import cif_symmetry, cif_values
from cgfast.io.cif_operations import operations
from cgfast.io.cif_plain import plain
from cgfast.io.cif_sites import Structure, in_order
from cgfast.io.cif_values import Refused, Unusable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "Block", "Content", "Refused", "Structure", "Unusable", "finish", "is_mixed", "parse", "settle"]

MAX_BYTES = 64 << 20  # a larger CIF is no crystal structure
MAX_POSITIONS = 300_000  # listed sites times symmetry operations
MAX_OCCUPANCY = 1.05  # sums up to here are rounding
MIN_FULL_OCCUPANCY = 0.995  # one species from here on is an ordered site


@dataclass
class Block:
    """Sites of a data block after symmetry: position k has the composition ``contents[site[k]]``."""

    cell: NDArray[np.float64]
    site: NDArray[np.int64]
    fractional: NDArray[np.float64]
    labels: list[str]
    contents: list[dict[int, float]]


Content: TypeAlias = Block | Structure | Refused | Unusable
"""What a data block holds, or why it is not known."""


def finish(block: Block | Structure, on_disorder: str) -> Structure:
    """Settle what stands at each site and put the atoms in order, unless that is done.

    Raises:
        Unusable: A site is disordered (unless ``on_disorder`` is "majority"), holds more than one atom, or no site is
            left.
    """
    if isinstance(block, Structure):
        return block
    settled = np.array(
        [settle(label, what, on_disorder) for label, what in zip(block.labels, block.contents, strict=True)],
        dtype=np.int32,
    )
    numbers = settled[block.site] if len(settled) else np.empty(0, np.int32)
    present = np.flatnonzero(numbers > 0)
    if not present.size:
        reason = "no atoms are left: no site is occupied"
        raise Unusable(reason)
    mixed = any(map(is_mixed, block.contents))
    return in_order(numbers[present], block.fractional[present], block.cell)._replace(settled=mixed)


def is_mixed(what: dict[int, float]) -> bool:
    """Whether a site that holds ``what`` (atomic number -> occupancy) is disordered: neither full of one species nor empty."""
    parts = [occupancy for occupancy in what.values() if occupancy > 0]
    return len(parts) > 1 or (len(parts) == 1 and parts[0] < MIN_FULL_OCCUPANCY)


def settle(label: str, what: dict[int, float], on_disorder: str) -> int:
    """Atomic number at a site that holds ``what`` (atomic number -> occupancy); 0 for a site to leave out.

    Raises:
        Unusable: Occupancies sum to more than 1, or the site is disordered and ``on_disorder`` is not "majority".
    """
    total = sum(what.values())
    if total > MAX_OCCUPANCY:
        reason = f"occupancies at site {label} sum to {total:g}: expected at most 1 (are atoms listed twice?)"
        raise Unusable(reason)
    what = {z: occupancy for z, occupancy in what.items() if occupancy > 0}
    if not what:
        return 0
    if len(what) == 1 and total >= MIN_FULL_OCCUPANCY:
        return next(iter(what))
    if on_disorder == "majority":
        return min(what, key=lambda z: (-what[z], z)) if total >= 0.5 else 0
    shown = ", ".join(f"{elements.SYMBOLS[z]} {occupancy:g}" for z, occupancy in what.items())
    reason = f"site {label} is disordered ({shown}): expected one species with occupancy 1"
    raise Unusable(reason, disorder=True)


def parse(data: bytes) -> list[tuple[str, Content, str]]:
    """Every data block with atoms: its name, what it holds or why not, and (only if refused) its text.

    Raises:
        Refused: The file's syntax is broken.
        Unusable: The file is empty, too large, or has no block with atoms.
    """
    if not data.strip():
        reason = "the file is empty"
        raise Unusable(reason)
    if len(data) > MAX_BYTES:
        reason = f"the file has {len(data) >> 20} MiB: expected at most {MAX_BYTES >> 20} MiB"
        raise Unusable(reason)
    document, clean = _document(data.removeprefix(b"\xef\xbb\xbf"))
    out: list[tuple[str, Content, str]] = []
    try:
        for block in document:
            if not _has_atoms(block):
                continue
            name = block.name.strip()
            try:
                out.append((name, (plain(block, MAX_POSITIONS) if clean else None) or _block(block), ""))
            except Refused as error:
                out.append((name, error, block.as_string()))
            except Unusable as error:
                out.append((name, error, ""))
    except UnicodeDecodeError as error:
        reason = f"the file is not UTF-8 text: {error}"
        raise Refused(reason) from None
    if not out:
        reason = "no data block with fractional atom positions (_atom_site_fract_x)"
        raise Unusable(reason)
    return out


def _document(data: bytes) -> tuple[Any, bool]:
    """What gemmi makes of the text, and whether no name repeats in a block; repeated names are no reason to refuse a file.

    Raises:
        Refused: The syntax is broken.
    """
    import gemmi

    try:
        return gemmi.cif.read_string(data, 1), True
    except (ValueError, RuntimeError):
        pass
    try:
        return gemmi.cif.read_string(data, 0), False
    except (ValueError, RuntimeError) as error:
        raise Refused(str(error).replace("\n", " ")) from None


def _has_atoms(block: Any) -> bool:  # noqa: ANN401 - gemmi's objects
    return bool(block.find_values("_atom_site_fract_x") or block.find_values("_atom_site.fract_x"))


def _cell(block: Any) -> NDArray[np.float64]:  # noqa: ANN401
    names = [f"length_{k}" for k in "abc"] + [f"angle_{k}" for k in ("alpha", "beta", "gamma")]
    values = [cif_values.number(cif_values.first_text(block, (f"_cell_{name}", f"_cell.{name}")) or "?") for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
    if missing:
        reason = f"no number for _cell_{', _cell_'.join(missing)}"
        raise Refused(reason)
    try:
        return cif_symmetry.cell_from_parameters(values[:3], values[3:])
    except ValueError as error:
        raise Unusable(str(error)) from None


def _block(block: Any) -> Block:  # noqa: ANN401
    labels, numbers, occupancies, fractional = _sites(block)
    cell = _cell(block)
    rotations, translations = operations(block)
    if len(labels) * len(rotations) > MAX_POSITIONS:
        reason = f"{len(labels)} sites with {len(rotations)} symmetry operations: expected at most {MAX_POSITIONS} positions"
        raise Unusable(reason)
    owners, points = cif_symmetry.orbits(fractional, rotations, translations, cell)
    leader = cif_symmetry.coinciding(owners, points, len(labels))
    contents: list[dict[int, float]] = [{} for _ in labels]
    for s, first in enumerate(leader.tolist()):
        contents[first][numbers[s]] = contents[first].get(numbers[s], 0.0) + occupancies[s]
    kept = leader[owners] == owners
    return Block(cell, owners[kept], points[kept], labels, contents)


def _sites(block: Any) -> tuple[list[str], list[int], list[float], NDArray[np.float64]]:  # noqa: ANN401
    """Label, atomic number, occupancy and fractional coordinates of the listed sites, without dummies."""
    import gemmi

    columns = [cif_values.values(block, f"_atom_site_fract_{k}", f"_atom_site.fract_{k}") for k in "xyz"]
    n = len(columns[0])
    labels = cif_values.texts(cif_values.values(block, "_atom_site_label", "_atom_site.label"))
    symbols = cif_values.texts(cif_values.values(block, "_atom_site_type_symbol", "_atom_site.type_symbol"))
    given = cif_values.values(block, "_atom_site_occupancy", "_atom_site.occupancy")
    flags = cif_values.values(block, "_atom_site_calc_flag", "_atom_site.calc_flag")
    lengths = {len(c) for c in (*columns, labels, symbols, given, flags) if c}
    if lengths != {n} or not all(columns):
        reason = "the columns of atom sites differ in length"
        raise Refused(reason)
    if not labels and not symbols:
        reason = "atom sites have neither label nor type symbol"
        raise Unusable(reason)
    labels = labels or symbols
    symbols = [s or label for s, label in zip(symbols, labels, strict=True)] if symbols else labels
    keep = [k for k in range(n) if not flags or flags[k].lower() != "dum"]
    numbers, occupancies, fractional = [], [], []
    for k in keep:
        numbers.append(cif_values.element(symbols[k]))
        occupancy = 1.0 if not given or gemmi.cif.is_null(given[k]) else cif_values.number(given[k])
        if not 0 <= occupancy < math.inf:
            reason = f"site {labels[k]} has the occupancy {given[k][:40]}: expected a number from 0 to 1"
            raise Unusable(reason)
        occupancies.append(occupancy)
        written = [column[k] for column in columns]
        at = [cif_values.coordinate(text) for text in written]
        if not all(math.isfinite(x) and abs(x) < 1e6 for x in at):
            reason = f"site {labels[k]} has the coordinates {' '.join(written)[:80]}: expected three numbers"
            raise Unusable(reason)
        fractional.append(at)
    return (
        [labels[k] for k in keep],
        numbers,
        occupancies,
        np.array(fractional, dtype=np.float64).reshape(-1, 3),
    )
