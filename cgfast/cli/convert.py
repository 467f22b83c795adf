"""`cgfast convert`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast.cli.errors import sentences
from cgfast.cli.model_options import Column, Format, OnDisorder, Strict, TimeLimit, column_names, one_or_all


def convert(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Structures: any files, folders or globs.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="Table to write.")],
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Input column to carry over, in place of all; may be repeated.", show_default="all"),
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Carry no columns over, only structures.")] = False,
    strict: Strict = False,
    on_disorder: OnDisorder = "skip",
    time_limit: TimeLimit = 10.0,
    column: Column = None,
    format: Format = None,  # noqa: A002
) -> None:
    """Write the structures of INPUT into one Parquet table.

    Its columns have OPTIMADE's names; it reads many times faster than most formats.
    One bad structure never stops the job: every row ends in OUT or in OUT-failures.csv.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast.cli.progress import show_progress
        from cgfast.conversion import FailuresError
        from cgfast.conversion import convert as run_convert

        if bare and keep:
            msg = "--bare and --keep exclude each other"
            raise ValueError(msg)
        failed = None
        try:
            with show_progress() as on_progress:
                result = run_convert(
                    one_or_all(inputs),
                    out,
                    keep=() if bare else keep,
                    strict=strict,
                    on_disorder=on_disorder,
                    time_limit=time_limit,
                    columns=column_names(column),
                    format=format,
                    on_progress=on_progress,
                )
        except FailuresError as error:
            failed = error
            result = error.result
            typer.echo(f"error: {error}", err=True)
        for note in result.notes:
            typer.echo(f"note: {note}")
        typer.echo(f"wrote {result.out} ({result.crystals_per_second:,.0f} crystals/s in {result.seconds:.1f} s)")
        typer.echo(result.account)
        if failed is not None:
            raise typer.Exit(1)
