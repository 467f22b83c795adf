"""`cgfast tune`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cgfast.cli.errors import sentences

_SEARCH, _DATA, _RUN = "Search", "Data", "Run"


def tune(
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
    task: Annotated[
        Literal["auto", "regression", "classification"], typer.Option(help="Numbers or two classes.", rich_help_panel=_DATA)
    ] = "auto",
    unit: Annotated[
        list[str] | None, typer.Option(help="Unit of each target, if the file does not say.", rich_help_panel=_DATA)
    ] = None,
    log10: Annotated[bool, typer.Option("--log10", help="Learn the logarithm of every target.", rich_help_panel=_DATA)] = False,
    split: Annotated[
        Literal["grouped", "random"] | None,
        typer.Option(help="grouped (default): crystals of one formula stay together.", rich_help_panel=_DATA),
    ] = None,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="Input format, if the name does not tell.", rich_help_panel=_DATA)
    ] = None,
    on_disorder: Annotated[
        Literal["skip", "majority", "error"], typer.Option(help="Partly occupied sites.", rich_help_panel=_DATA)
    ] = "skip",
    atom_init: Annotated[
        Path | None, typer.Option(help="JSON of element features, not a learned table.", rich_help_panel=_DATA)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search, the split and the weights.", rich_help_panel=_RUN)] = 0,
    threads: Annotated[int | None, typer.Option(rich_help_panel=_RUN)] = None,
) -> None:
    """Search for the options that train the best model on DATA; the study and its best model go to DIR.

    Trials are judged by the validation part. Ctrl-C saves; --resume DIR goes on, also after a kill.

    Exit codes: 0 done, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    given = {"DATA": data, "--target": target, "--out": out, "--epochs": epochs, "--set": set_, "--search": search}
    given |= {"--space": space, "--unit": unit, "--log10": log10 or None, "--split": split, "--format": format}
    given |= {"--atom-init": atom_init, "--threads": threads, "--no-prune": None if prune else True}
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
            place = out if out is not None else _default_folder(target[0])
            options = {"epochs": epochs, "split": split, "threads": threads, **_options(set_ or [])}
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
                    seed=seed,
                    prune=prune,
                    task=task,
                    unit=unit,
                    log10=log10,
                    atom_init=atom_init,
                    format=format,
                    on_disorder=on_disorder,
                    **options,
                    **said,
                )
        console.done(result)


def _only_resume(given: dict[str, Any]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        msg = f"--resume: got {', '.join(names)} too, expected --trials, --timeout or --keep: the study knows its own options"
        raise ValueError(msg)


def _options(texts: list[str]) -> dict[str, Any]:
    from cgfast.tuning.space import parse_assignments, parse_option

    return {name: parse_option(name, text) for name, text in parse_assignments(texts, "--set").items()}


def _space(file: Path | None, texts: list[str]) -> dict[str, Any] | None:
    from cgfast.tuning.space import parse_assignments, read_space

    if file is None and not texts:
        return None
    return (read_space(file) if file is not None else {}) | parse_assignments(texts, "--search")


def _default_folder(target: str) -> Path:
    """`<target>-study` in the current folder."""
    name = "".join(c if c.isalnum() or c in "_-." else "-" for c in target).strip("-.") or "cgfast"
    return Path(f"{name}-study")
