"""`cgfast screen`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cgfast.cli import screen_options as o  # noqa: TC001 - typer reads the annotations
from cgfast.cli.errors import sentences
from cgfast.cli.model_options import column_names, one_or_all

if TYPE_CHECKING:
    from cgfast.screening import ScreenResult

HEAD_ROWS = 20  # rows of a table shown on the terminal when there is no --out


def screen(
    inputs: o.Inputs,
    model: o.Models = None,
    out: o.Out = None,
    keep: o.Keep = None,
    strict: o.Strict = False,
    resume: o.Resume = False,
    restart: o.Restart = False,
    shard: o.Shard = None,
    limit: o.Limit = None,
    top: o.Top = None,
    by: o.By = None,
    descending: o.Descending = False,
    where: o.Where = None,
    best_of: o.BestOf = None,
    hull: o.Hull = None,
    report: o.Report = None,
    on_disorder: o.OnDisorder = "skip",
    on_isolated: o.OnIsolated = "flag",
    on_overlap: o.OnOverlap = "flag",
    on_unknown_element: o.OnUnknownElement = "flag",
    time_limit: o.TimeLimit = 10.0,
    column: o.Column = None,
    format: o.Format = None,  # noqa: A002
    device: o.Device = "cpu",
    batch_atoms: o.BatchAtoms = None,
    threads: o.Threads = None,
    ties: o.Ties = None,
    atom_init: o.AtomInit = None,
    engine: o.Engine = "local",
    address: o.Address = None,
    num_workers: o.NumWorkers = None,
    gpus_per_worker: o.GpusPerWorker = 0.0,
) -> None:
    """Predict properties of every structure in INPUT.

    One bad structure never stops the job: every row ends in OUT or in OUT-failures.csv.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    with sentences():
        from cgfast.cli.progress import show_progress
        from cgfast.models.own import DEFAULT_MODEL
        from cgfast.screening import FailuresError
        from cgfast.screening import screen as run_screen

        try:
            with show_progress() as on_progress:
                result = run_screen(
                    one_or_all(inputs),
                    model or DEFAULT_MODEL,
                    out=out,
                    device=device,
                    batch_atoms=batch_atoms,
                    threads=threads,
                    ties=ties,
                    keep=keep or (),
                    top=top,
                    by=by,
                    descending=descending,
                    where=where,
                    best_of=best_of,
                    hull=hull,
                    report=report,
                    head=HEAD_ROWS,
                    strict=strict,
                    resume=resume,
                    restart=restart,
                    shard=shard,
                    limit=limit,
                    on_disorder=on_disorder,
                    on_isolated=on_isolated,
                    on_overlap=on_overlap,
                    on_unknown_element=on_unknown_element,
                    time_limit=time_limit,
                    columns=column_names(column),
                    format=format,
                    atom_init=atom_init,
                    engine=engine,
                    address=address,
                    num_workers=num_workers,
                    gpus_per_worker=gpus_per_worker,
                    on_progress=on_progress,
                )
        except FailuresError as error:
            _show(error.result, error, ranked=top is not None)
            raise typer.Exit(1) from None
        _show(result, None, ranked=top is not None)


def _show(result: ScreenResult, error: ValueError | None, *, ranked: bool) -> None:
    """Notes and the error on stderr, the rows and the account on stdout."""
    from cgfast.cli.show import show_result

    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if error is not None:
        typer.echo(f"error: {error}", err=True)
    show_result(result, ranked=ranked)
