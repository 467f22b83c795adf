"""`cgfast merge`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast.cli.errors import sentences


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Predictions of the whole: .parquet or .csv.")],
    shards: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SHARD", help="What `cgfast screen --shard` wrote; files, globs.", show_default="OUT-*of*.parquet"
        ),
    ] = None,
) -> None:
    """Join the outputs of all shards of a job into one table.

    It is the table that one run would have written. A shard that is missing, there twice or of another job is an error. The
    shards stay where they are.
    """
    with sentences():
        from cgfast.cli.show import show_result
        from cgfast.screening import merge as run_merge

        show_result(run_merge(out, shards or None), ranked=False)
