"""What a screening job is made of: checked options, an open reader, loaded models, and its tables."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._devices import chosen_device
from cgfast.crystals import Crystals
from cgfast.io.batch import printable
from cgfast.screening.columns import FLAGS, ID, by_model, kept_columns, value_columns
from cgfast.screening.crystals_reader import CrystalsReader
from cgfast.screening.output.failures import failures_path
from cgfast.screening.selection.top import check_rankable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from cgfast.io import Reader
    from cgfast.models import PropertyModel
    from cgfast.neighbors import GraphSpec
    from cgfast.screening.selection.hull import Hull


BATCH_ROWS = 1024  # rows read at a time, as many as `cgfast.io.read` gives
CUDA_BATCH_ROWS = 16_384  # of them a batch for a CUDA device is made
TIME_LIMIT = 10.0  # seconds that pymatgen may take for a CIF that gemmi refuses


@dataclass(frozen=True, slots=True)
class Job:
    """The options that are numbers and names, checked. Raises ValueError naming the option that is wrong."""

    batch_atoms: int | None
    threads: int | None
    ties: str | None
    top: int | None
    by: str | None
    head: int | None
    limit: int | None = None
    best_of: str | None = None
    descending: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_atoms", "threads", "top", "head", "limit"):
            value = getattr(self, name)
            lowest = 0 if name == "head" else 1
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral):
                msg = f"{name}: got {value!r}, expected a whole number"
                raise ValueError(msg)  # noqa: TRY004 - bad input is a ValueError throughout
            if int(value) < lowest:
                msg = f"{name}: got {value}, expected at least {lowest}"
                raise ValueError(msg)
        if self.ties not in {None, "canonical", "shell"}:
            msg = f"ties: got {self.ties!r}, expected 'canonical' or 'shell'"
            raise ValueError(msg)
        for name, given in (("by", self.by is not None), ("descending", self.descending)):
            if given and self.top is None and self.best_of is None:
                msg = f"{name}: only has a meaning together with top, best_of or report"
                raise ValueError(msg)

    def top_column(self, names: Sequence[str], values: Sequence[str], kept: pa.Schema | None, *, kept_is_known: bool) -> str:
        """Name the column to rank by: `by`, or the only one of `values`, the prediction columns that are no deviation.

        Raises ValueError where it can be told already that there is no such column of numbers.
        """
        if self.by is not None:
            if kept_is_known and self.by not in names:
                table = prediction_table([], np.empty((0, len(names))), [], names, kept.empty_table() if kept else None)
                check_rankable(table.schema, self.by)
            return self.by
        if len(values) == 1:
            return values[0]
        msg = f"by: needed with several predicted properties; the prediction columns are {', '.join(names)}"
        raise ValueError(msg)


def open_reader(
    source: Any,  # noqa: ANN401 - told apart here
    *,
    out: Path | None,
    keep: Sequence[str],
    on_disorder: str,
    columns: Mapping[str, str] | None,
    format: str | None,  # noqa: A002 - the name that cgfast.io.read uses
    time_limit: float,
    batch_rows: int = BATCH_ROWS,
) -> Reader | CrystalsReader:
    """Make `source` (path, paths, Crystals or a Reader) a reader of `batch_rows` rows at a time (a Reader: of its own number).

    Raises ValueError when there is nothing to read, or `out` would overwrite what is read.
    """
    is_crystals = isinstance(source, Crystals)
    if (is_crystals or hasattr(source, "batches")) and (
        keep or columns or format or on_disorder != "skip" or time_limit != TIME_LIMIT
    ):
        what = "Crystals have no use for" if is_crystals else "with an open Reader, give to cgfast.io.read"
        msg = f"source: {what} keep, columns, format, on_disorder and time_limit"
        raise ValueError(msg)
    if is_crystals:
        return CrystalsReader(source, batch_rows)
    if hasattr(source, "batches"):
        _refuse_overwriting(source, out)
        opened: Reader = source
        return opened
    from cgfast.io import read

    reader = read(
        source,
        format=format,
        columns=columns,
        keep=[keep] if isinstance(keep, str) else keep,
        batch_rows=batch_rows,
        on_disorder=on_disorder,
        time_limit=time_limit,
    )
    _refuse_overwriting(reader, out)
    return reader


def _refuse_overwriting(reader: Reader, out: Path | None) -> None:
    """Compare what will be written with every file that the reader found, whatever way it found it."""
    if out is None:
        return
    written = {(found.st_dev, found.st_ino): path for path in (out, failures_path(out)) if (found := _stat(path))}
    for path in getattr(reader, "files", ()) if written else ():
        found = _stat(path)
        if found and (found.st_dev, found.st_ino) in written:
            msg = f"out: {written[found.st_dev, found.st_ino]} is also the input, and would be overwritten"
            raise ValueError(msg)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def open_models(models: Any, *, atom_init: str | os.PathLike[str] | None) -> list[PropertyModel]:  # noqa: ANN401
    """Load `models` (a name, path or model, or several). Raises ValueError for none or an unknown one."""
    several = isinstance(models, Iterable) and not isinstance(models, str | os.PathLike)
    wanted = list(models) if several else [models]
    for model in wanted:
        if not isinstance(model, str | os.PathLike) and not hasattr(model, "predict_columns"):
            msg = f"models: got {model!r}, expected names, paths or loaded models"
            raise ValueError(msg)
    if not wanted:
        msg = "models: got none, expected at least one name; `cgfast models` lists them"
        raise ValueError(msg)
    from cgfast.models import load_model

    return [load_model(model, atom_init=atom_init) if isinstance(model, str | os.PathLike) else model for model in wanted]


def place_models(models: Sequence[PropertyModel], device: object) -> tuple[list[PropertyModel], torch.device | None]:
    """The models on `device` (None: where they are), and the CUDA device that graphs are then made on, if any.

    Raises ValueError for a device that torch does not have, and for models on several devices.
    """
    if device is not None:
        place = chosen_device(device)
        moved = [model.to(place) if hasattr(model, "to") else model for model in models]
        return moved, place if place.type == "cuda" else None
    places = {model.device for model in models if hasattr(model, "device")}
    if len(places) > 1:
        msg = f"models: got some on {' and some on '.join(sorted(map(str, places)))}, expected one device; or give device"
        raise ValueError(msg)
    return list(models), next((place for place in places if place.type == "cuda"), None)


def metadata(
    models: Sequence[PropertyModel], names: Sequence[str], specs: Sequence[GraphSpec], batch_atoms: int, device: str
) -> dict[str, Any]:
    """Collect what the table must say to be understood alone, and nothing that differs between equal runs."""
    from cgfast import __version__

    return {
        "version": __version__,
        "batch_atoms": batch_atoms,
        "device": device,
        "models": [
            {
                "name": model.name,
                "task": model.task,
                "targets": [
                    {
                        "property": target.property,
                        "unit": target.unit,
                        "classes": None if target.classes is None else list(target.classes),
                        "column": column,
                    }
                    for target, column in zip(model.targets, value_columns([model], own), strict=True)
                ],
                "columns": own,
                "units": [column.unit for column in model.columns],
                "sha256": model.sha256,
                "graph": spec.to_dict(),
            }
            for model, own, spec in zip(models, by_model(models, names), specs, strict=True)
        ],
    }


def prediction_table(
    ids: list[str], values: NDArray[np.float64], flags: list[str], names: Sequence[str], kept: pa.Table | None
) -> pa.Table:
    """Make rows of output: `id`, the columns of `values` (B, C) under `names`, `flags`, `kept` columns."""
    import pyarrow as pa

    arrays: list[Any] = [pa.array([printable(name) for name in ids], pa.string())]
    arrays += [pa.array(values[:, index], pa.float64()) for index in range(len(names))]
    arrays.append(pa.array(flags, pa.string()))
    head = [ID, *names, FLAGS]
    if kept is None:
        return pa.table(arrays, names=head)
    return pa.table([*arrays, *kept.columns], names=[*head, *kept_columns(names, kept.column_names)])


def empty_table(names: Sequence[str], kept: pa.Schema | None, hull: Hull | None) -> pa.Table:
    """The output of no rows: its schema is that of all rows."""
    table = prediction_table([], np.empty((0, len(names))), [], names, kept.empty_table() if kept else None)
    return table if hull is None else hull.add(table, Crystals.concatenate([]))
