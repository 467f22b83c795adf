"""The command line: a file per command, the small ones here.

Exit codes: 0 done (with failures reported), 1 `--strict` and some row failed, 2 bad input or options, 3
unexpected error, 130 interrupted. Heavy imports happen inside the commands, so that `cgfast --help` is quick.
"""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast.cli.convert import convert
from cgfast.cli.embed import embed
from cgfast.cli.enumerate import enumerate_
from cgfast.cli.errors import sentences
from cgfast.cli.evaluate import evaluate
from cgfast.cli.explain import explain
from cgfast.cli.finetune import finetune
from cgfast.cli.merge import merge
from cgfast.cli.model_options import Model, column_names
from cgfast.cli.screen import screen
from cgfast.cli.train import train
from cgfast.cli.tune import tune

app = typer.Typer(
    name="cgfast",
    help="Screen crystals with crystal-graph neural networks, and train them, fast.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the `cgfast` command."""
    app()


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from cgfast import __version__

        typer.echo(f"cgfast {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


for _command in (screen, merge, train, evaluate, finetune, tune, embed, explain, convert):
    app.command()(_command)
app.command("enumerate")(enumerate_)


@app.command()
def models() -> None:
    """List the models: property, unit, training data, test error."""
    with sentences():
        from cgfast.cli.show import show_models
        from cgfast.models import available_models

        show_models(available_models())


@app.command()
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Structures: a file, folder or glob of any format.")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Other name of a column or JSON member: id=material_id.", metavar="OURS=THEIRS"),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Input format, if the name does not tell.")] = None,  # noqa: A002
) -> None:
    """Say what a structure file holds."""
    with sentences():
        from cgfast.cli.show import show_description
        from cgfast.io import read

        show_description(read(file, format=format, columns=column_names(column)).describe())


@app.command()
def export(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE.pth.tar", help="Checkpoint of the 2018 layout to write.")],
) -> None:
    """Write MODEL as a checkpoint of the 2018 CGCNN code.

    Only a network, graphs and a single target that the 2018 code knows can be written (--preset paper trains such models).
    """
    with sentences():
        from cgfast.models import load_model

        written = load_model(model).save_2018(file)
        typer.echo(f"wrote {written} and its element features beside it")


@app.command()
def doctor() -> None:
    """Check this installation, and say what mends what is missing.

    Versions, instruction set, threads, CUDA. Exit code 1 only if the compiled part is there and cannot work.
    """
    with sentences():
        from cgfast.cli.show import show_report
        from cgfast.doctor import collect

        report = collect()
        show_report(report)
        if report.broken:
            raise typer.Exit(1)
