"""`cgfast evaluate`."""

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


def evaluate(
    model: Model,
    data: Data,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Labels: COL, log10(COL), COL<NUMBER, COL>NUMBER, in the order of the model's targets, or "
            "OUTPUT=LABEL; default: what the model was trained on.",
            metavar="LABEL",
        ),
    ] = None,
    part: Annotated[str | None, typer.Option(help="Only this part of the split: train, val or test.")] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="CSV with the columns id, row, part; default: split.csv in the model's folder.", metavar="FILE"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Metrics: .json or .csv.", metavar="FILE")] = None,
    report: Annotated[Path | None, typer.Option(help="Report with figures, one .html file.", metavar="FILE")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Truths and predictions of all rows: .parquet or .csv.", metavar="FILE")
    ] = None,
    threads: Threads = None,
    ties: Ties = None,
    strict: Strict = False,
    on_disorder: OnDisorder = "skip",
    time_limit: TimeLimit = 10.0,
    column: Column = None,
    format: Format = None,  # noqa: A002
    atom_init: AtomInit = None,
) -> None:
    """Compare the predictions of MODEL with the labels of DATA.

    Every row is evaluated, a failure, or outside of the part.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast._files import check_outputs
        from cgfast.cli.show_evaluation import show_evaluation
        from cgfast.evaluation import evaluate as run_evaluate

        names = column_names(column)
        outputs = {"--out": (out, (".json", ".csv")), "--report": (report, (".html", ".htm"))}
        outputs["--predictions"] = (predictions, (".parquet", ".csv"))
        check_outputs(outputs, data)
        if report is not None:
            require("plotly", "train")  # now, not after the work
        result = run_evaluate(
            model,
            one_or_all(data),
            targets=target or None,
            part=part,
            split=split,
            threads=threads,
            ties=ties,
            on_disorder=on_disorder,
            time_limit=time_limit,
            columns=names,
            format=format,
            atom_init=atom_init,
        )
        written = []
        if out is not None:
            written.append(result.save(out))
        if predictions is not None:
            written.append(result.save_predictions(predictions))
        if report is not None:
            written.append(result.report(report))
        show_evaluation(result, written)
        if strict and result.failures:
            typer.echo(f"error: strict: {len(result.failures):,} rows failed", err=True)
            raise typer.Exit(1)
