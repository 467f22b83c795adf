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
        source: A path or glob pattern, or a sequence of them: a CIF file, a folder or zip of CIFs (folders are
            searched recursively, in sorted order), a folder with ``id_prop.csv`` and ``ID.cif`` (the 2018
            layout), a Parquet file or a folder of them. A folder is recognised by its content.
        format: "cif", "parquet" or "cgcnn" (the 2018 layout) instead of telling by name and content.
        columns: Parquet only: other names for ``id``, ``lattice_vectors``, ``cartesian_site_positions``,
            ``species_at_sites``, ``dimension_types``, ``species``, ``structure_features``, for example
            ``{"id": "mp_id"}``. Without an ``id`` column the first of ``immutable_id``, ``material_id``,
            ``mat_id``, ``jid``, ``structure_id`` serves, else the row number; ``Reader.describe`` tells which.
        keep: Columns to carry into ``StructureBatch.columns``: any of a Parquet table; ``target``, ``target_1``,
            ... of the 2018 layout.
        batch_rows: Every batch covers exactly so many consecutive rows of input, except the last.
        on_disorder: What to do with partly occupied sites (in CIFs, and in Parquet by OPTIMADE's ``species`` and
            ``structure_features``): "skip" makes it a failure, "error" raises,
            "majority" keeps the most common species of each site (the lighter at a tie) and drops sites less than
            half occupied.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.

    Returns:
        Reader: Iterable of `Crystals`; its ``batches()`` also tell input rows and failures, which together are all
            rows.

    Raises:
        ValueError: The source is missing, empty, no such format, or lacks a column; or an argument is out of range. While
            reading: a Parquet file is damaged, or ``on_disorder="error"`` met disorder. Every other flaw of a row is a
            `Failure`.
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
