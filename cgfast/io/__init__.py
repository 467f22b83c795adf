"""Structures on disk in, flat arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.io.batch import Failure, StructureBatch
from cgfast.io.reader import Reader

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Failure", "Reader", "StructureBatch", "read"]


def read(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    format: str | None = None,  # noqa: A002 - the word users expect
    columns: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    batch_rows: int = 1024,
    on_disorder: str = "skip",
    time_limit: float = 10.0,
) -> Reader:
    """Open structures for streaming; memory stays flat whatever their number.

    Args:
        source: A path or glob pattern, or a sequence of them: files, or folders of them (searched recursively, in
            sorted order), of any format in `cgfast.io.formats.TABLE`. Parquet, the 2018 layout (a folder with
            ``id_prop.csv`` and ``ID.cif``), JSON and JSON Lines (OPTIMADE responses; pymatgen's structures and entries
            in lists, in ``{"entries": [...]}``, by id, by id and frame; JARVIS; ASE; documents of the Materials
            Project; pandas' tables), and whatever else ``docs/screening.md`` lists. Formats are told by name and
            content; ``.gz``, ``.bz2`` and ``.xz`` are unpacked on the way.
        format: Name of a format (a wrong one gives a message with all names) instead of telling by name and content.
        columns: Parquet: other names for ``id``, ``lattice_vectors``, ``cartesian_site_positions``,
            ``species_at_sites``, ``dimension_types``, ``species``, ``structure_features``, for example
            ``{"id": "mp_id"}``. Without an ``id`` column the first of ``immutable_id``, ``material_id``,
            ``mat_id``, ``jid``, ``structure_id`` serves, else the row number; ``Reader.describe`` tells which.
            JSON: the members that hold ``id`` and ``structure``, also inside others (``output.structure``).
        keep: Columns to carry into ``StructureBatch.columns``: any of a Parquet table; ``target``, ``target_1``,
            ... of the 2018 layout; elsewhere properties of the records, also inside others (``symmetry.number``). The
            first records decide whether these are truth values, numbers or text; a later value that does not fit
            becomes null, and ``Reader.notes`` tells so. ``Reader.properties`` names all.
        batch_rows: Every batch covers exactly so many consecutive rows of input, except the last.
        on_disorder: What to do with partly occupied sites (in OPTIMADE data by ``species`` and
            ``structure_features``): "skip" makes it a failure, "error" raises,
            "majority" keeps the most common species of each site (the lighter at a tie) and drops sites less than
            half occupied.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.

    Returns:
        Reader: Iterable of `Crystals`; its ``batches()`` also tell input rows and failures, which together are all
            rows.

    Raises:
        ValueError: The source is missing, empty, no such format, or lacks a column; or an argument is out of range. While
            reading: a file is damaged so that its rows cannot be told apart, or ``on_disorder="error"`` met disorder.
            Every other flaw of a row is a `Failure`.
    """
    return Reader(
        source,
        format=format,
        columns=columns,
        keep=keep,
        batch_rows=batch_rows,
        on_disorder=on_disorder,
        time_limit=time_limit,
    )
