"""`merge`: the outputs of all shards of a job as the output of the whole."""

from __future__ import annotations

import glob
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.screening.flags import count_flags
from cgfast.screening.output.failures import failures_path
from cgfast.screening.output.finished import read_failures, read_metadata
from cgfast.screening.output.manifest import differences
from cgfast.screening.output.shards import Shard
from cgfast.screening.output.writer import OutputFile, check_out
from cgfast.screening.result import ScreenResult
from cgfast.screening.selection.hull import HULL_COLUMN, HULL_UNIT
from cgfast.screening.selection.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from cgfast.io import Failure

_FIRST_FAILURES = 10
_ROWS = 16384  # read at a time
_MAX_NAMED = 10
_OF_SHARD = ("rows", "failures", "filtered")  # what differs between shards of a job, beside which shard it is


@dataclass(frozen=True)
class _Piece:
    """The output of one shard. offset: to add to the row numbers of its failures."""

    path: Path
    shard: Shard
    metadata: dict[str, Any]
    n_predictions: int

    @property
    def n_failures(self) -> int:
        return int(self.metadata["failures"])

    @property
    def n_filtered(self) -> int:
        return int(self.metadata.get("filtered", 0))

    @property
    def range(self) -> dict[str, Any]:
        found: dict[str, Any] = self.metadata["options"]["shard"]
        return found


def merge(
    out: str | os.PathLike[str],
    shards: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
) -> ScreenResult:
    """Join the outputs of all shards of a job into the output that one run would have written.

    Predictions are in input order; failures have the row numbers of the whole input. The Parquet file is, byte by byte, that of
    a run without `shard` (where rows were divided by files, up to the last digits: see the docs). The shards stay.

    Args:
        out: `.parquet` or `.csv`. The failures go to `<stem>-failures.csv` beside it. Both appear by atomic rename.
        shards: Files `<stem>-3of8.parquet` that `screen(..., shard=...)` wrote, in any order, or glob patterns; None for those
            of this name beside `out`. Each has its `-failures.csv` beside it, which a pattern may match too.

    Returns:
        ScreenResult. Its `seconds` are those of the merging.

    Raises:
        ValueError: A shard is missing (named), there twice, or of another job (it is said what differs); a file is no shard, or
            lacks its failures; `out` cannot be written.

    Deterministic.
    """
    started = time.perf_counter()
    path = check_out(out)
    pieces = _complete([_open(one) for one in _find(path, shards)])
    for written in (path, failures_path(path)):
        if any(written.exists() and written.samefile(piece.path) for piece in pieces):
            msg = f"out: {written} is one of the shards, and would be overwritten"
            raise ValueError(msg)
    first: list[Failure] = []
    metadata = _metadata_of_all(pieces)
    with OutputFile(path, metadata) as file:
        start = 0
        for piece in pieces:
            _copy_failures(piece, file, start if piece.range["by"] == "files" else 0, first)
            start += piece.metadata["rows"]
        for table in _selected(pieces, Selection.of(metadata["options"])):
            file.write(table)
        file.commit()
    return ScreenResult(
        n_rows=start,
        n_predictions=start - file.n_failures,
        n_failures=file.n_failures,
        seconds=time.perf_counter() - started,
        out=path,
        failures_out=failures_path(path),
        failures=tuple(first),
        units=_units(metadata),
        flags=metadata["flags"],
        n_filtered=metadata.get("filtered"),
    )


def _find(out: Path, shards: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None) -> list[Path]:
    """The files that are meant, in no order."""
    if shards is None:
        form = re.compile(rf"{re.escape(out.stem)}-\d+of\d+\.parquet")
        found = sorted(path for path in out.parent.iterdir() if form.fullmatch(path.name))
        if not found:
            msg = f"shards: there is no {out.stem}-IofN.parquet beside {out}"
            raise ValueError(msg)
        return found
    found = []
    for place in [shards] if isinstance(shards, str | os.PathLike) else list(shards):
        path = Path(place)
        if path.exists() or not glob.has_magic(str(place)):
            found.append(path)
            continue
        matches = sorted(Path(name) for name in glob.glob(str(place)) if not name.endswith("-failures.csv"))  # noqa: PTH207
        if not matches:
            msg = f"shards: nothing matches the pattern {str(place)!r}"
            raise ValueError(msg)
        found += matches
    if not found:
        msg = "shards: got none, expected the outputs of all shards of a job"
        raise ValueError(msg)
    return list({path.resolve(): path for path in found}.values())


def _open(path: Path) -> _Piece:
    import pyarrow.parquet as pq

    if not path.is_file():
        msg = f"shards: no such file: {path}"
        raise ValueError(msg)
    metadata = read_metadata(path)
    range_ = (metadata or {}).get("options", {}).get("shard")
    if metadata is None or range_ is None:
        msg = f"shards: {path} is no output of a shard (`cgfast screen --shard i/n` writes such)"
        raise ValueError(msg)
    piece = _Piece(path, Shard(range_["index"], range_["count"]), metadata, int(pq.read_metadata(path).num_rows))
    if piece.n_predictions + piece.n_failures + piece.n_filtered != metadata["rows"]:
        expected = metadata["rows"] - piece.n_failures - piece.n_filtered
        msg = f"shards: {path} holds {piece.n_predictions} rows, expected {expected}: it is damaged"
        raise ValueError(msg)
    return piece


def _complete(pieces: Sequence[_Piece]) -> list[_Piece]:
    """The shards in order, each once, all of one job. Raises ValueError where they are not."""
    first = pieces[0]
    there: dict[Shard, _Piece] = {}
    for piece in pieces:
        if piece.shard in there:
            msg = f"shards: {piece.shard} is there twice: {there[piece.shard].path} and {piece.path}"
            raise ValueError(msg)
        there[piece.shard] = piece
        if piece.shard.count != first.shard.count:
            msg = f"shards: {first.path} is {first.shard} and {piece.path} is {piece.shard}: expected shards of one job"
            raise ValueError(msg)
        found = differences(_job_of(first), _job_of(piece))
        if found:
            msg = f"shards: {first.path} and {piece.path} are of different jobs: {'; '.join(found)}"
            raise ValueError(msg)
    count = first.shard.count
    missing = [shard for index in range(1, count + 1) if (shard := Shard(index, count)) not in there]
    if missing:
        named = [_state(shard, first) for shard in missing[:_MAX_NAMED]]
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        verb = "is" if len(missing) == 1 else "are"
        msg = f"shards: {', '.join(named)}{more} {verb} missing; there are {len(there)} of {count}"
        raise ValueError(msg)
    ordered = [there[Shard(index, count)] for index in range(1, count + 1)]
    _check_ranges(ordered)
    return ordered


def _state(shard: Shard, other: _Piece) -> str:
    """A shard that is missing, and whether a run of it was begun beside another one."""
    stem, found, _ = other.path.stem.rpartition("-")
    path = shard.path(other.path.with_name(f"{stem}{other.path.suffix}"))
    if found and path.with_name(f".{path.name}.parts").is_dir():
        return f"{shard} (not finished: {path})"
    return str(shard)


def _job_of(piece: _Piece) -> dict[str, Any]:
    """What all shards of a job have in common."""
    metadata = {key: value for key, value in piece.metadata.items() if key not in _OF_SHARD}
    common = {key: piece.range[key] for key in ("count", "by", "of")}
    return {**metadata, "options": {**metadata["options"], "shard": common}}


def _check_ranges(pieces: Sequence[_Piece]) -> None:
    stop = 0
    for piece in pieces:
        rows_fit = piece.range["by"] == "files" or piece.metadata["rows"] == piece.range["stop"] - piece.range["first"]
        if piece.range["first"] != stop or not rows_fit:
            msg = f"shards: {piece.path} does not begin where the one before ends, or lacks rows; this is a bug"
            raise ValueError(msg)
        stop = piece.range["stop"]


def _metadata_of_all(pieces: Sequence[_Piece]) -> dict[str, Any]:
    """What a run without shards says of its output."""
    metadata = pieces[0].metadata
    options = {key: value for key, value in metadata["options"].items() if key != "shard"}
    counts = {name: sum(piece.metadata[name] for piece in pieces) for name in _OF_SHARD if name in metadata}
    selection = Selection.of(options)
    if selection:  # a run of rows of which `best_of` takes one may go on in the next shard
        selected = sum(table.num_rows for table in _selected(pieces, selection))
        counts["filtered"] = counts["rows"] - counts["failures"] - selected
    flags = count_flags(pair for piece in pieces for pair in piece.metadata.get("flags", {}).items())
    return {**metadata, "options": options, "flags": flags, **counts}


def _units(metadata: dict[str, Any]) -> dict[str, str]:
    """Unit of each prediction column."""
    units = {name: unit for one in metadata["models"] for name, unit in zip(one["columns"], one["units"], strict=True)}
    return {**units, HULL_COLUMN: HULL_UNIT} if "hull" in metadata["options"] else units


def _selected(pieces: Sequence[_Piece], selection: Selection) -> Iterator[pa.Table]:
    """The predictions of all shards, as one run would have selected them."""
    stream = selection.stream()
    # one without rows may not have known what is kept
    for piece in [piece for piece in pieces if piece.metadata["rows"]] or pieces[:1]:
        for table in _tables(piece):
            yield stream.push(table)
    rest = stream.finish()
    if rest is not None:
        yield rest


def _tables(piece: _Piece) -> Iterator[pa.Table]:
    """The predictions of a shard; at least an empty table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(piece.path, memory_map=False, pre_buffer=False)
    try:
        yield source.schema_arrow.empty_table().replace_schema_metadata(None)
        for batch in source.iter_batches(_ROWS):
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None)
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        msg = f"shards: {piece.path} is damaged: {str(error).partition(chr(10))[0]}"
        raise ValueError(msg) from None
    finally:
        source.close()


def _copy_failures(piece: _Piece, file: OutputFile, offset: int, first: list[Failure]) -> None:
    before = file.n_failures
    for failure in _failures_of(piece, offset):
        file.write_failures([failure])
        if len(first) < _FIRST_FAILURES:
            first.append(failure)
    if file.n_failures - before != piece.n_failures:
        place = failures_path(piece.path)
        msg = f"shards: {place} holds {file.n_failures - before} failures, expected {piece.n_failures}"
        raise ValueError(msg)


def _failures_of(piece: _Piece, offset: int) -> Iterator[Failure]:
    place = failures_path(piece.path)
    if not place.is_file():
        msg = f"shards: {piece.path} lacks its failures, {place.name}"
        raise ValueError(msg)
    return (failure._replace(row=failure.row + offset) for failure in read_failures(place))
