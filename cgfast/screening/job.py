"""What a screening job is made of: checked options, an open reader, loaded models, and its tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.screening.columns import FLAGS, ID, kept_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.io import Reader
    from cgfast.models import PropertyModel
    from cgfast.neighbors import GraphSpec


@dataclass(frozen=True, slots=True)
class Job:
    """The options that are numbers and names, checked. Raises ValueError naming the option that is wrong."""

    batch_atoms: int
    threads: int | None
    ties: str | None
    top: int | None
    by: str | None
    head: int | None

    def __post_init__(self) -> None:
        for name in ("batch_atoms", "threads", "top", "head"):
            value = getattr(self, name)
            lowest = 0 if name == "head" else 1
            if value is not None and value < lowest:
                msg = f"{name}: got {value}, expected at least {lowest}"
                raise ValueError(msg)
        if self.ties not in {None, "canonical", "shell"}:
            msg = f"ties: got {self.ties!r}, expected 'canonical' or 'shell'"
            raise ValueError(msg)
        if self.by is not None and self.top is None:
            msg = "by: only has a meaning together with top"
            raise ValueError(msg)

    def top_column(self, names: Sequence[str]) -> str:
        """Name the column to rank by: `by`, or the only prediction column."""
        if self.by is not None:
            return self.by
        if len(names) == 1:
            return names[0]
        msg = f"by: needed with several models; the prediction columns are {', '.join(names)}"
        raise ValueError(msg)


def open_reader(
    source: Any,  # noqa: ANN401 - path, paths or a Reader; told apart here
    *,
    out: Path | None,
    keep: Sequence[str],
    on_disorder: str,
    columns: Mapping[str, str] | None,
    format: str | None,  # noqa: A002 - the name that cgfast.io.read uses
) -> Reader:
    """Make `source` a Reader. Raises ValueError when there is nothing to read or `out` would overwrite it."""
    if hasattr(source, "batches"):
        if keep or columns or format or on_disorder != "skip":
            msg = "source: with an open Reader, give keep, columns, format and on_disorder to cgfast.io.read"
            raise ValueError(msg)
        reader: Reader = source
        return reader
    from cgfast.io import read

    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if out is not None and out.exists():
        for path in map(Path, paths):
            if path.exists() and path.samefile(out):
                msg = f"out: {out} is also the input, and would be overwritten"
                raise ValueError(msg)
    kept = [keep] if isinstance(keep, str) else list(keep)
    return read(
        source,
        format=format,
        columns=dict(columns) if columns else None,
        keep=tuple(kept),
        on_disorder=on_disorder,
    )


def open_models(models: Any, *, atom_init: str | os.PathLike[str] | None) -> list[PropertyModel]:  # noqa: ANN401
    """Load `models` (a name, path or model, or several). Raises ValueError for none or an unknown one."""
    several = isinstance(models, Sequence) and not isinstance(models, str)
    wanted = list(models) if several else [models]
    if not wanted:
        msg = "models: got none, expected at least one name; `cgfast models` lists them"
        raise ValueError(msg)
    from cgfast.models import load_model

    return [load_model(model, atom_init=atom_init) if isinstance(model, str | os.PathLike) else model for model in wanted]


def metadata(
    models: Sequence[PropertyModel], names: Sequence[str], specs: Sequence[GraphSpec], batch_atoms: int
) -> dict[str, Any]:
    """Collect what the table must say to be understood alone, and nothing that differs between equal runs."""
    from cgfast import __version__

    return {
        "version": __version__,
        "batch_atoms": batch_atoms,
        "models": [
            {
                "name": model.name,
                "property": model.property,
                "unit": model.unit,
                "task": model.task,
                "classes": None if model.classes is None else list(model.classes),
                "column": name,
                "sha256": model.sha256,
                "graph": spec.to_dict(),
            }
            for model, name, spec in zip(models, names, specs, strict=True)
        ],
    }


def prediction_table(
    ids: list[str], values: NDArray[np.float64], flags: list[str], names: Sequence[str], kept: pa.Table | None
) -> pa.Table:
    """Make rows of output: `id`, the columns of `values` (B, M) under `names`, `flags`, `kept` columns."""
    import pyarrow as pa

    arrays: list[Any] = [pa.array(ids, pa.string())]
    arrays += [pa.array(values[:, index], pa.float64()) for index in range(len(names))]
    arrays.append(pa.array(flags, pa.string()))
    head = [ID, *names, FLAGS]
    if kept is None:
        return pa.table(arrays, names=head)
    return pa.table([*arrays, *kept.columns], names=[*head, *kept_columns(names, kept.column_names)])
