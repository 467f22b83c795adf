"""`cgfast explain`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast._optional import require
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


def explain(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A row per site: .parquet or .csv.", metavar="FILE")] = None,
    heatmap: Annotated[
        Path | None, typer.Option(help="Mean contribution per element as a periodic table, one .html file.", metavar="FILE")
    ] = None,
    sites: Annotated[bool, typer.Option("--sites", help="Tell the A, B and X sites of ABX3 perovskites apart.")] = False,
    target: Annotated[str | None, typer.Option(help="Output column, for a model of several targets.", metavar="COLUMN")] = None,
    threads: Threads = None,
    ties: Ties = None,
    strict: Strict = False,
    on_disorder: OnDisorder = "skip",
    time_limit: TimeLimit = 10.0,
    column: Column = None,
    format: Format = None,  # noqa: A002
    atom_init: AtomInit = None,
) -> None:
    """Write what each site of DATA contributes to the prediction of MODEL, in the unit of the prediction.

    MODEL must have been trained with --readout atom or site. Every row of DATA ends in OUT or in OUT-failures.csv.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast._files import check_outputs
        from cgfast.cli.progress import show_progress
        from cgfast.cli.show_evaluation import show_crystal_table
        from cgfast.evaluation import explain as run_explain

        if out is None and heatmap is None:
            msg = "--out and --heatmap: got neither, expected at least one file to write"
            raise ValueError(msg)
        check_outputs({"--out": (out, (".parquet", ".csv")), "--heatmap": (heatmap, (".html", ".htm"))}, data)
        if heatmap is not None:
            require("plotly", "train")  # now, not after the work
        with show_progress() as on_progress:
            result = run_explain(
                model,
                one_or_all(data),
                out=out,
                target=target,
                sites=sites,
                threads=threads,
                ties=ties,
                on_disorder=on_disorder,
                time_limit=time_limit,
                columns=column_names(column),
                format=format,
                atom_init=atom_init,
                on_progress=on_progress,
            )
        written = [] if out is None else [out]
        if heatmap is not None:
            written.append(result.heatmap(heatmap))
        show_crystal_table(result, written)
        if strict and result.n_failures:
            typer.echo(f"error: strict: {result.n_failures:,} of {result.n_rows:,} rows failed", err=True)
            raise typer.Exit(1)
