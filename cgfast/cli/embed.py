"""`cgfast embed`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast.cli.errors import sentences
from cgfast.cli.model_options import (
    AtomInit,
    Column,
    Data,
    Format,
    Model,
    OnDisorder,
    Strict,
    Threads,
    Ties,
    TimeLimit,
    column_names,
    one_or_all,
)


def embed(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Features: .parquet.", metavar="FILE")],
    atoms: Annotated[bool, typer.Option("--atoms", help="Also the features of each atom.")] = False,
    member: Annotated[int, typer.Option(help="Which network of an ensemble, from 0.")] = 0,
    threads: Threads = None,
    ties: Ties = None,
    strict: Strict = False,
    on_disorder: OnDisorder = "skip",
    time_limit: TimeLimit = 10.0,
    column: Column = None,
    format: Format = None,  # noqa: A002
    atom_init: AtomInit = None,
) -> None:
    """Write what MODEL makes of each structure of DATA before its head: features to cluster, compare or learn from.

    Every row ends in OUT or in OUT-failures.csv.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast.cli.progress import show_progress
        from cgfast.cli.show_evaluation import show_crystal_table
        from cgfast.evaluation import embed as run_embed

        with show_progress() as on_progress:
            result = run_embed(
                model,
                one_or_all(data),
                out=out,
                atoms=atoms,
                member=member,
                threads=threads,
                ties=ties,
                on_disorder=on_disorder,
                time_limit=time_limit,
                columns=column_names(column),
                format=format,
                atom_init=atom_init,
                on_progress=on_progress,
            )
        show_crystal_table(result, [out])
        if strict and result.n_failures:
            typer.echo(f"error: strict: {result.n_failures:,} of {result.n_rows:,} rows failed", err=True)
            raise typer.Exit(1)
