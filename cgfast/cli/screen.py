"""`cgfast screen`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Literal

import typer

from cgfast.cli.errors import sentences
from cgfast.cli.model_options import column_names

HEAD_ROWS = 20  # rows of a table shown on the terminal when there is no --out


def screen(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Parquet, JSON, CIF, ...; files, folders, globs.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Name (see `cgfast models`) or file; may be repeated.", show_default="cgfast/formation-energy"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Predictions: .parquet or .csv.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto: cuda if it can be.", metavar="DEVICE")] = "cpu",
    batch_atoms: Annotated[int | None, typer.Option(help="Atoms per batch of graphs [8192; cuda: 262144].")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to compute with.")] = None,
    ties: Annotated[
        Literal["canonical", "shell"] | None,
        typer.Option(help="Rule for equally distant neighbours, in place of the model's."),
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Input column to carry over; may be repeated.")] = None,
    top: Annotated[int | None, typer.Option(help="Show the N rows with the lowest value.", metavar="N")] = None,
    by: Annotated[str | None, typer.Option(help="Column that --top ranks by.", metavar="COLUMN")] = None,
    descending: Annotated[bool, typer.Option("--descending", help="--top shows the highest values.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any row failed.")] = False,
    on_disorder: Annotated[
        Literal["skip", "majority", "error"], typer.Option(help="What to do with partly occupied sites.")
    ] = "skip",
    time_limit: Annotated[
        float, typer.Option(help="Seconds for a CIF file that only pymatgen reads.", metavar="SECONDS")
    ] = 10.0,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Other name of a column or JSON member: id=material_id.", metavar="OURS=THEIRS"),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Input format, if the name does not tell.")] = None,  # noqa: A002
    atom_init: Annotated[Path | None, typer.Option(help="JSON with element features of the 2018 models.")] = None,
) -> None:
    """Predict properties of every structure in INPUT.

    One bad structure never stops the job: every row ends in OUT or in OUT-failures.csv.

    Exit codes: 0 done, 1 --strict and a row failed, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast.cli.progress import show_progress
        from cgfast.cli.show import show_result
        from cgfast.models.own import DEFAULT_MODEL
        from cgfast.screening import FailuresError
        from cgfast.screening import screen as run_screen

        failed = None
        try:
            with show_progress() as on_progress:
                result = run_screen(
                    inputs[0] if len(inputs) == 1 else inputs,
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
                    head=HEAD_ROWS,
                    strict=strict,
                    on_disorder=on_disorder,
                    time_limit=time_limit,
                    columns=column_names(column),
                    format=format,
                    atom_init=atom_init,
                    on_progress=on_progress,
                )
        except FailuresError as error:
            failed = error
            result = error.result
        for note in result.notes:
            typer.echo(f"note: {note}", err=True)
        if failed is not None:
            typer.echo(f"error: {failed}", err=True)
        show_result(result, ranked=top is not None)
        if failed is not None:
            raise typer.Exit(1)
