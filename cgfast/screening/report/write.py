"""`write_report`: the finished files of a job, and its input, as one page.

It reads the finished files rather than listening to the job, so that one way serves all jobs: undisturbed, resumed, merged from
shards, or done by a cluster; and a report can be made of an old table. What it costs is reading numbers back (a second for a
million rows) and, of the input, the best rows.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._files import check_outputs, write_text
from cgfast._optional import require
from cgfast.io.batch import printable
from cgfast.pages.page import cards_html, page_html
from cgfast.screening.output.failures import failures_path
from cgfast.screening.report import parts
from cgfast.screening.report.collect import Ranking, add_structures, collect, prediction_columns_of
from cgfast.screening.report.reasons import read_reasons
from cgfast.screening.report.rows import read_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgfast.io import Reader
    from cgfast.screening.crystals_reader import CrystalsReader
    from cgfast.screening.report.throughput import Throughput

SUFFIXES = (".html", ".htm")
MOST_CANDIDATES = 20
_VERSIONS = ("numpy", "torch", "pyarrow", "plotly")


def check_report(path: str | os.PathLike[str], out: Path | None, reader: Reader | CrystalsReader) -> tuple[Path, Path]:
    """(`path`, `out`) as the places of a report and of what it is made from.

    Raises ValueError that says why they cannot be these, ImportError without plotly.
    """
    place = Path(path)
    if out is None:
        msg = f"report: {place} is made from the output: give out (--out) too"
        raise ValueError(msg)
    check_outputs({"report": (place, SUFFIXES)}, ())
    if place.exists():
        same = place.stat()
        for file in getattr(reader, "files", ()):
            if file.exists() and os.path.samestat(file.stat(), same):
                msg = f"report: {place} is also the input, and would be overwritten"
                raise ValueError(msg)
    require("plotly", "report")  # now, not after the work
    return place, out


def write_report(
    path: str | os.PathLike[str],
    predictions: str | os.PathLike[str],
    reader: Reader | CrystalsReader | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    by: str | None = None,
    descending: bool = False,
    top: int | None = None,
    first_row: int = 0,
    n_rows: int | None = None,
    throughput: Throughput | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write a report of a finished job: one HTML file that loads nothing, about 5 MB, most of it plotly.js.

    Args:
        path: The report, `.html`. It appears by atomic rename.
        predictions: The job's output, `.parquet` or `.csv`, with `<stem>-failures.csv` beside it.
        reader: The job's input, `cgfast.io.read(...)` with the same options, for the structures; None: none are shown.
        metadata: What the output says of its making; default: read from it, which needs Parquet.
        by: Column that ranks the candidates; default: the first predicted property.
        descending: The highest values are best.
        top: How many candidates, at most and by default 20.
        first_row: Row of input that the output begins with.
        n_rows: Rows of input that the job took. Where the output and the failures are fewer, rows were left out, and structures
            are found by id rather than by row; so they are if the number is not given and rows and ids do not agree.
        throughput: What listened to the job's progress, for the figure of it.
        facts: What else to say of the run, name -> text.

    Returns:
        `path`.

    Raises:
        ValueError: Files that cannot be read or are not what they should be, a column that is not there, a report that
            cannot be written.
        ImportError: plotly is not installed.

    Memory does not grow with the number of rows. Needs `pip install "cgfast[report]"`.
    """
    table = Path(predictions)
    known = dict(metadata) if metadata is not None else read_metadata(table)
    columns = prediction_columns_of(known)
    ranking = Ranking(by or columns[0].name, min(top or MOST_CANDIDATES, MOST_CANDIDATES), descending=descending)
    found = collect(table, columns, ranking)
    reasons = read_reasons(failures_path(table))
    if reader is not None:
        is_whole = n_rows is None or n_rows == found.n_rows + reasons.n
        add_structures(found, reader, np.array(reasons.rows, np.int64), first_row if is_whole else None)
    n_rows = found.n_rows + reasons.n if n_rows is None else n_rows
    cards = [(f"{n_rows:,}", "rows in"), (f"{found.n_rows:,}", "predictions"), (f"{reasons.n:,}", "failures")]
    if n_rows > found.n_rows + reasons.n:
        cards.append((f"{n_rows - found.n_rows - reasons.n:,}", "not selected"))
    if throughput is not None and throughput.rate > 0:
        cards += [(f"{throughput.rate:,.0f}", "rows per second"), (_duration(throughput.seconds), "from the first read")]
    said = {**(facts or {}), "output": str(table), **_versions(known)}
    sections = [
        cards_html(cards),
        *parts.distribution_parts(columns, found),
        *parts.candidate_parts(found, columns, ranking),
        *parts.flag_parts(found),
        *parts.failure_parts(reasons, n_rows),
        *parts.throughput_parts(throughput),
        *parts.model_parts(known["models"]),
        *parts.run_parts({name: printable(text) for name, text in said.items()}),
    ]
    style = parts.HERE.joinpath("report.css").read_text(encoding="utf-8")
    return write_text(Path(path), page_html(f"Screening: {printable(table.name)}", sections, style=style))


def _versions(metadata: Mapping[str, Any]) -> dict[str, str]:
    packages = []
    for name in _VERSIONS:
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    python = f"Python {platform.python_version()}"
    return {
        "cgfast": str(metadata.get("version", "")),
        "versions": ", ".join([python, *packages]),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
