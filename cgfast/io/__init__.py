"""Structures on disk in, flat arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast.io.batch import Failure, StructureBatch
from cgfast.io.reader import Reader

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Failure", "Reader", "StructureBatch", "materials_project", "optimade", "read"]


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
            sorted order), of any format in `cgfast.io.formats.TABLE`; or a query like
            ``"optimade:https://HOST?filter=nelements=2"`` or ``"mp:chemsys=Li-O"``. Parquet, the 2018 layout (a folder with
            ``id_prop.csv`` and ``ID.cif``), JSON and JSON Lines (OPTIMADE responses; pymatgen's structures and entries
            in lists, in ``{"entries": [...]}``, by id, by id and frame; JARVIS; ASE; documents of the Materials
            Project; pandas' tables), and whatever else ``docs/formats.md`` lists. Formats are told by name and
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


def optimade(
    url: str,
    filter: str = "",  # noqa: A002 - OPTIMADE's word
    *,
    keep: Sequence[str] = (),
    batch_rows: int = 1024,
    on_disorder: str = "skip",
    page_limit: int | None = None,
    timeout: float = 60.0,
) -> Reader:
    """Structures of an OPTIMADE server, page by page: a `Reader` for `cgfast.screen`, `cgfast.convert` and the rest.

    Needs the client of the package `optimade` (``pip install "cgfast[optimade]"``). Only the first page is fetched at once.
    Of each structure the server sends what a crystal is made of and the properties of ``keep``. A server that is busy or breaks
    off is asked again a few times.

    Args:
        url: Base address of the server, with or without ``/v1`` and ``/structures``.
        filter: In OPTIMADE's language, for example ``'elements HAS ALL "Li","O" AND nelements<=3'``; "" for all structures.
        keep: Properties to carry into ``StructureBatch.columns`` (``Reader.properties`` names those that the server tells of),
            also inside others (``_mp_stability.value``).
        batch_rows: See `read`.
        on_disorder: See `read`.
        page_limit: Structures a page; None for as many as the server allows, up to 500.
        timeout: Seconds that one page may take.

    Raises:
        ValueError: The server cannot be reached, refuses, or has no such property; the filter is none; an argument is out of
            range. While reading: a page could not be had; ``on_disorder="error"`` met disorder. A structure that cannot be used
            is a `Failure`.
        ImportError: The client is not installed.

    Source: OPTIMADE, version 1 (M. L. Evans et al., Digital Discovery 3, 1509 (2024), doi:10.1039/D4DD00039K).
    """
    from cgfast.io.optimade_source import OptimadeQuery

    query = OptimadeQuery(url, filter, page_limit, timeout)
    return Reader(query, keep=keep, batch_rows=batch_rows, on_disorder=on_disorder)


def materials_project(
    *,
    keep: Sequence[str] = (),
    batch_rows: int = 1024,
    on_disorder: str = "skip",
    api_key: str | None = None,
    chunk_size: int = 1000,
    **criteria: Any,  # noqa: ANN401 - as the client has them
) -> Reader:
    """Structures of the Materials Project: a `Reader` for `cgfast.screen`, `cgfast.convert` and the rest.

    Needs the client `mp-api` (``pip install "cgfast[mp]"``) and an API key of the Materials Project.

    Args:
        keep: Properties to carry into ``StructureBatch.columns``: fields of the summary documents (``band_gap``,
            ``energy_above_hull``), also inside others (``symmetry.number``).
        batch_rows: See `read`.
        on_disorder: See `read`.
        api_key: None for the one that mp-api finds (the environment variable ``MP_API_KEY``, or its settings).
        chunk_size: Documents asked for at a time; memory holds two chunks.
        **criteria: Arguments of mp-api's ``MPRester.materials.summary.search``: ``elements=["Li", "O"]``,
            ``chemsys="Li-Fe-O"``, ``band_gap=(1, None)``, ``is_stable=True``, ``material_ids=[...]``. At least one.

    Raises:
        ValueError: No such criterion; no key; the Materials Project refuses or cannot be reached (also while reading).
        ImportError: The client is not installed.

    Rows are in the order in which the Materials Project names the materials that fit.
    """
    from cgfast.io.materials_project_source import MaterialsProjectQuery

    query = MaterialsProjectQuery(criteria, api_key, chunk_size)
    return Reader(query, keep=keep, batch_rows=batch_rows, on_disorder=on_disorder)
