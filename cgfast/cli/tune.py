"""`cgfast tune`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any, Literal

import typer

from cgfast.cli import training_options as options_of  # noqa: TC001 - typer reads the annotations
from cgfast.cli.errors import sentences
from cgfast.cli.model_options import Column, column_names, default_folder, given_arguments

_SEARCH = "Search"
_WITH_RESUME = ("--resume", "--trials", "--timeout", "--keep")


def tune(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Structures with labels: Parquet, or a folder with id_prop.csv.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Column to predict: COL, log10(COL), 'metal=COL<0.001'; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the study.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Go on with the study in DIR.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials that end, in all calls together.", show_default="50")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after so long; --resume goes on.")] = None,
    preset: Annotated[Literal["fast", "paper"], typer.Option(help="Recipe that the search starts from.")] = "fast",
    epochs: Annotated[int | None, typer.Option(help="Of each trial.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any option of `cgfast train` for all trials; may be repeated."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="NAME=VALUES",
            help="Search this in place of the default space: learning_rate=0.001..0.05:log, n_conv=2..6, "
            "cutoff=5..9:step=1, 'conv=CGConv|CrystalGraphConv'; may be repeated.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='The space as JSON: {"n_conv": "2..6", ...}.', rich_help_panel=_SEARCH),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="End trials that fall behind.", rich_help_panel=_SEARCH)
    ] = True,
    keep: Annotated[int, typer.Option(help="Best trials whose run folders stay.", rich_help_panel=_SEARCH)] = 3,
    task: options_of.Task = "auto",
    unit: options_of.Unit = None,
    log10: options_of.Log10 = False,
    split: options_of.Split = None,
    format: options_of.Format = None,  # noqa: A002
    on_disorder: options_of.OnDisorder = "skip",
    column: Column = None,
    atom_init: options_of.AtomInit = None,
    seed: Annotated[int, typer.Option(help="Of the search, the split and the weights.", rich_help_panel="Run")] = 0,
    threads: options_of.Threads = None,
) -> None:
    """Search for the options that train the best model on DATA; the study and its best model go to DIR.

    Trials are judged by the validation part. Ctrl-C saves; --resume DIR goes on, also after a kill.

    Exit codes: 0 done, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    given = given_arguments(context)
    with sentences():
        from cgfast.cli.tuning_progress import TuningConsole

        console = TuningConsole()
        said: dict[str, Any] = {
            "timeout": timeout,
            "keep": keep,
            "on_start": console.start,
            "on_trial": console.trial,
            "on_epoch": console.epoch,
        }
        if resume is not None:
            _only_resume(given)
            with console.running(resume):
                from cgfast.tuning import resume as go_on

                result = go_on(resume, trials=trials, **said)
        else:
            if data is None or not target:
                missing = "DATA" if data is None else "--target COLUMN"
                msg = f"{missing} is missing: cgfast tune DATA --target COLUMN --out DIR, or cgfast tune --resume DIR"
                raise ValueError(msg)
            place = out if out is not None else default_folder(target[0], "study")
            own = {"epochs": epochs, "split": split, "threads": threads, "seed": seed, "task": task}
            options = {name: value for name, value in own.items() if value is not None} | _options(set_ or [], given)
            searched = _space(space, search or [])
            with console.running(place):
                from cgfast.tuning import tune as run

                result = run(
                    data,
                    target,
                    out=place,
                    trials=50 if trials is None else trials,
                    space=searched,
                    preset=preset,
                    prune=prune,
                    unit=unit,
                    log10=log10,
                    atom_init=atom_init,
                    format=format,
                    columns=column_names(column),
                    on_disorder=on_disorder,
                    **options,
                    **said,
                )
        console.done(result)


def _only_resume(given: list[str]) -> None:
    names = [name for name in given if name not in _WITH_RESUME]
    if names:
        msg = f"--resume: got {', '.join(names)} too, expected --trials, --timeout or --keep: the study knows its own options"
        raise ValueError(msg)


def _options(texts: list[str], given: list[str]) -> dict[str, Any]:
    """What `--set` says. Raises ValueError for an option that another argument, of those given, says too."""
    from cgfast.tuning.space import parse_assignments, parse_option

    found = {name: parse_option(name, text) for name, text in parse_assignments(texts, "--set").items()}
    both = [name for name in found if f"--{name}" in given]
    if both:
        msg = f"--set: got {both[0]} and --{both[0]} too, expected one of them"
        raise ValueError(msg)
    return found


def _space(file: Path | None, texts: list[str]) -> dict[str, Any] | None:
    from cgfast.tuning.space import parse_assignments, read_space

    if file is None and not texts:
        return None
    return (read_space(file) if file is not None else {}) | parse_assignments(texts, "--search")
