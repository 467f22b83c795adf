"""`enumerate_crystals`: candidates from a prototype as a stream of crystals, for screening at once or into a Parquet file."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._files import check_outputs
from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS
from cgfast.enumeration.candidates import Candidates
from cgfast.enumeration.contacts import Contacts
from cgfast.enumeration.element_sets import options_of
from cgfast.enumeration.prototype_source import open_prototype
from cgfast.enumeration.tables import candidate_names, columns_of, row_ids, structure_columns
from cgfast.io.batch import StructureBatch, rebatch

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.enumeration.prototype import Prototype

__all__ = ["EnumerateResult", "Enumeration", "enumerate_crystals"]

_BATCH_ROWS = 1024
_GROUP_ROWS = 65_536


def enumerate_crystals(
    prototype: str | os.PathLike[str] | Prototype,
    sites: Mapping[str, str | Sequence[str]] | None = None,
    *,
    volumes: float | Iterable[float] = (1.0,),
    repeats: bool = False,
    charge_neutral: bool = False,
) -> Enumeration:
    """Candidates by putting elements on the sites of a prototype, each in one or several volumes.

    Args:
        prototype: One of our own (`rocksalt`, `perovskite`, ...), a file with one structure, or an AFLOW label or mineral
            (then with pymatgen).
        sites: Letter of the prototype -> what may stand there: elements, formulas for its sites (`O2N` on three), names of
            sets, `-` before what is taken out, as a list or with commas between them. A letter that is not named keeps the
            element of the file or the AFLOW entry; our own prototypes need all of theirs.
        volumes: Factors on the estimated volume; each candidate comes once with each, one row after the other.
        repeats: Also candidates with one element on several letters.
        charge_neutral: Only candidates that pymatgen's common oxidation states can balance, one state an element of a letter.

    Returns:
        Enumeration: a source for `cgfast.screen`, or `write(path)` it.

    Volumes: the shape of the cell and the inner coordinates are the prototype's, its size follows from Slater's radii
    (`cgfast.enumeration.contacts.Contacts`). Candidates that an isometry of the prototype makes of each other appear once.

    Raises:
        ValueError: An unknown prototype, letter, element or set, or a volume that is not positive.

    Deterministic: the same arguments give the same rows in the same order.
    """
    return Enumeration(open_prototype(prototype), sites or {}, volumes=volumes, repeats=repeats, charge_neutral=charge_neutral)


@dataclass(frozen=True)
class EnumerateResult:
    """The account of an enumeration that was counted, or written to `out`: `n_rows` = `n_candidates` x volumes.

    `n_combinations` = `n_candidates` + `n_repeats` (one element on several letters) + `n_duplicates` (by symmetry) +
    `n_charged` (not neutral).
    """

    out: Path | None
    n_combinations: int
    n_candidates: int
    n_repeats: int
    n_duplicates: int
    n_charged: int
    n_rows: int
    seconds: float

    @property
    def account(self) -> str:
        """One line with all counts."""
        left_out = [
            f"{count:,} {why}"
            for count, why in (
                (self.n_repeats, "with an element on several letters"),
                (self.n_duplicates, "equal by symmetry"),
                (self.n_charged, "not neutral"),
            )
            if count
        ]
        without = f" (left out: {', '.join(left_out)})" if left_out else ""
        found = f"{_number(self.n_candidates, 'candidate')}, {_number(self.n_rows, 'row')}"
        return f"{_number(self.n_combinations, 'combination')}: {found}{without}"


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


class Enumeration:
    """The candidates of `enumerate_crystals`: a reader as `cgfast.screen` takes it, or a file with `write`.

    Kept columns: `candidate` (the id without its volume), `volume_factor`, and `site_<letter>` with what stands there.
    """

    batch_rows = _BATCH_ROWS

    def __init__(
        self,
        prototype: Prototype,
        sites: Mapping[str, str | Sequence[str]],
        *,
        volumes: float | Iterable[float],
        repeats: bool,
        charge_neutral: bool,
    ) -> None:
        self.prototype = prototype
        self.volumes = _volumes(volumes)
        self._options = _options(prototype, sites)
        self._candidates = Candidates(prototype, self._options, repeats=repeats, charge_neutral=charge_neutral)
        self._contacts = Contacts(prototype, self._options)
        self._names = {letter: candidate_names(array) for letter, array in self._options.items()}
        self._settings = {"repeats": repeats, "charge_neutral": charge_neutral}

    @functools.cached_property
    def n_rows(self) -> int:
        """Rows in all, counted once: well under a second for a million."""
        return self.count().n_rows

    @property
    def n_combinations(self) -> int:
        """Combinations of elements before any is left out."""
        return self._candidates.n_combinations

    @property
    def kept_schema(self) -> pa.Schema:
        """Arrow schema of the kept columns."""
        return columns_of(self._empty(), self._names, self.prototype.name, self.volumes)[1].schema

    @property
    def keep(self) -> tuple[str, ...]:
        """Names of the kept columns."""
        return tuple(self.kept_schema.names)

    def describe(self) -> dict[str, Any]:
        """What makes this enumeration, as JSON can hold it: equal descriptions give equal rows."""
        return {
            "prototype": self.prototype.name,
            "cell": self.prototype.cell.tolist(),
            "positions": self.prototype.positions.tolist(),
            "sites": {letter: names.to_pylist() for letter, names in self._names.items()},
            "volumes": list(self.volumes),
            **self._settings,
        }

    @property
    def settings(self) -> dict[str, str]:
        """What a run on these candidates is known by."""
        text = json.dumps(self.describe(), sort_keys=True)
        return {"prototype": self.prototype.name, "candidates": hashlib.sha256(text.encode()).hexdigest()}

    def batches(self) -> Iterator[StructureBatch]:
        """Batches of 1024 crystals (the last may hold fewer), from the beginning."""
        return rebatch(self._pieces(), _BATCH_ROWS)

    def __iter__(self) -> Iterator[Crystals]:
        return (batch.crystals for batch in self.batches())

    def write(self, out: str | os.PathLike[str]) -> EnumerateResult:
        """Write all candidates as OPTIMADE-named Parquet: `id`, structures, kept columns. The file appears by atomic rename.

        Raises:
            ValueError: It cannot be written, or does not end in .parquet.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(out)
        check_outputs({"out": (path, (".parquet",))}, [])
        started = time.perf_counter()
        partial = path.with_name(path.name + ".part")
        n_rows = 0
        schema = self._table(self._empty()).schema
        schema = schema.with_metadata({b"cgfast": json.dumps({"content": "candidates", **self.describe()}).encode()})
        try:
            # Numbers repeat little within a column: dictionaries cost time and save nothing.
            text = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
            nested = ["species_at_sites.list.element"]
            with pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=[*text[1:], *nested]) as writer:
                for chosen in self._candidates.chunks():
                    table = self._table(chosen)
                    writer.write_table(table, row_group_size=_GROUP_ROWS)
                    n_rows += table.num_rows
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return self._result(path, n_rows, started)

    def count(self) -> EnumerateResult:
        """The account without a file (`out` is None)."""
        started = time.perf_counter()
        return self._result(None, sum(len(chosen[0]) for chosen in self._candidates.chunks()) * len(self.volumes), started)

    def _result(self, out: Path | None, n_rows: int, started: float) -> EnumerateResult:
        """The account of all candidates, which were met since `started`."""
        counts = self._candidates.counts
        return EnumerateResult(
            out,
            self.n_combinations,
            counts["candidates"],
            counts["repeats"],
            counts["duplicates"],
            counts["charged"],
            n_rows,
            time.perf_counter() - started,
        )

    def _empty(self) -> list[NDArray[np.intp]]:
        return [np.empty(0, dtype=np.intp) for _ in self._options]

    def _table(self, chosen: Sequence[NDArray[np.intp]]) -> pa.Table:
        import pyarrow as pa

        cell, positions, numbers = self._arrays(chosen)
        ids, kept = columns_of(chosen, self._names, self.prototype.name, self.volumes)
        structures = structure_columns(cell, positions, numbers)
        return pa.table([ids, *structures.values(), *kept.columns], names=["id", *structures, *kept.column_names])

    def _arrays(self, chosen: Sequence[NDArray[np.intp]]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
        """Cells (R, 3, 3), positions (R, n, 3), atomic numbers (R, n) of the rows: candidates, each in all volumes."""
        stretch = np.cbrt(np.array(self.volumes))
        scales = (self._contacts.scales(chosen)[:, None] * stretch).ravel()[:, None, None]
        numbers = np.empty((len(chosen[0]), len(self.prototype.positions)), dtype=np.int32)
        for index, (letter, members) in zip(chosen, self.prototype.sites.items(), strict=True):
            numbers[:, members] = self._options[letter][index]
        return scales * self.prototype.cell, scales * self.prototype.positions, np.repeat(numbers, len(stretch), axis=0)

    def _pieces(self) -> Iterator[StructureBatch]:
        start = 0
        step = max(_GROUP_ROWS // (8 * len(self.volumes)), 1)
        for chunk in self._candidates.chunks():
            for first in range(0, len(chunk[0]), step):
                chosen = [index[first : first + step] for index in chunk]
                cell, positions, numbers = self._arrays(chosen)
                ids, kept = columns_of(chosen, self._names, self.prototype.name, self.volumes)
                crystals = Crystals.from_arrays(
                    positions.reshape(-1, 3),
                    cell,
                    numbers.ravel(),
                    graph_ptr=np.arange(len(cell) + 1) * numbers.shape[1],
                    ids=row_ids(ids),
                )
                yield StructureBatch(crystals, np.arange(start, start + len(cell)), n_rows=len(cell), columns=kept)
                start += len(cell)


def _options(prototype: Prototype, sites: Mapping[str, str | Sequence[str]]) -> dict[str, NDArray[np.intp]]:
    """What each letter's sites may hold, letters in the prototype's order."""
    members = prototype.sites
    unknown = [letter for letter in sites if letter not in members]
    if unknown:
        msg = f"sites: {prototype.name} has no {unknown[0]!r}; its letters are {', '.join(members)}"
        raise ValueError(msg)
    missing = [letter for letter in members if letter not in sites and letter not in prototype.elements]
    if missing:
        msg = f"sites: nothing is said of {', '.join(missing)} of {prototype.name}, whose letters are {', '.join(members)}"
        raise ValueError(msg)
    own = {letter: [SYMBOLS[numbers[0]]] for letter, numbers in prototype.elements.items()}
    return {
        letter: np.array(options_of(letter, sites.get(letter, own.get(letter, "")), len(where)), dtype=np.intp)
        for letter, where in members.items()
    }


def _volumes(volumes: float | Iterable[float]) -> tuple[float, ...]:
    given = list(volumes) if isinstance(volumes, Iterable) else [volumes]
    try:
        numbers = [] if isinstance(volumes, str) else [float(one) for one in given]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or not all(one > 0 and math.isfinite(one) for one in numbers) or len(set(numbers)) < len(numbers):
        msg = f"volumes: got {volumes!r}, expected different positive factors such as 0.9, 1.0, 1.1"
        raise ValueError(msg)
    return tuple(numbers)
