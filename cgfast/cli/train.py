"""`cgfast train`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cgfast.cli.errors import sentences

_NETWORK, _GRAPH, _RECIPE, _DATA, _RUN = "Network", "Graph", "Recipe", "Data", "Run"


def train(
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Structures with labels: Parquet, or a folder with id_prop.csv.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Column to predict: COL, log10(COL), 'metal=COL<0.001'; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run and its model.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Go on with the run in DIR.")] = None,
    preset: Annotated[Literal["fast", "paper"], typer.Option(help="Recipe that the other options change.")] = "fast",
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
    split_column: Annotated[str | None, typer.Option(help="Column with train, val, test.", rich_help_panel=_DATA)] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="K/N", help="Fold K of N, by formula, is the test.", rich_help_panel=_DATA)
    ] = None,
    fractions: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Shares of train, val, test [0.8,0.1,0.1].", rich_help_panel=_DATA)
    ] = None,
    class_weights: Annotated[
        Literal["none", "balanced"] | None, typer.Option(help="Weigh the rarer class more.", rich_help_panel=_DATA)
    ] = None,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="Input format, if the name does not tell.", rich_help_panel=_DATA)
    ] = None,
    on_disorder: Annotated[
        Literal["skip", "majority", "error"], typer.Option(help="Partly occupied sites.", rich_help_panel=_DATA)
    ] = "skip",
    conv: Annotated[
        Literal["CGConv", "CrystalGraphConv"] | None, typer.Option(help="Convolution.", rich_help_panel=_NETWORK)
    ] = None,
    atom_fea_len: Annotated[int | None, typer.Option(help="Features per atom.", rich_help_panel=_NETWORK)] = None,
    n_conv: Annotated[int | None, typer.Option(help="Convolutions.", rich_help_panel=_NETWORK)] = None,
    h_fea_len: Annotated[int | None, typer.Option(help="Width of the head.", rich_help_panel=_NETWORK)] = None,
    n_h: Annotated[int | None, typer.Option(help="Layers of the head.", rich_help_panel=_NETWORK)] = None,
    readout: Annotated[
        Literal["head", "atom", "site"] | None,
        typer.Option(help="head of pooled atoms, of every atom, or linear in it.", rich_help_panel=_NETWORK),
    ] = None,
    activation: Annotated[Literal["softplus", "silu"] | None, typer.Option(rich_help_panel=_NETWORK)] = None,
    pooling: Annotated[
        Literal["mean", "sum", "min", "max"] | None, typer.Option(help="Of atoms to a crystal.", rich_help_panel=_NETWORK)
    ] = None,
    atom_init: Annotated[
        Path | None, typer.Option(help="JSON of element features, not a learned table.", rich_help_panel=_NETWORK)
    ] = None,
    cutoff: Annotated[float | None, typer.Option(help="Å.", rich_help_panel=_GRAPH)] = None,
    max_neighbors: Annotated[
        int | None, typer.Option(help="Nearest; 0: all inside the cutoff.", rich_help_panel=_GRAPH)
    ] = None,
    ties: Annotated[
        Literal["canonical", "shell"] | None, typer.Option(help="Rule for equal distances.", rich_help_panel=_GRAPH)
    ] = None,
    epochs: Annotated[int | None, typer.Option(rich_help_panel=_RECIPE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Crystals per step.", rich_help_panel=_RECIPE)] = None,
    batch_atoms: Annotated[int | None, typer.Option(help="At most so many atoms.", rich_help_panel=_RECIPE)] = None,
    batch_edges: Annotated[int | None, typer.Option(help="At most so many edges.", rich_help_panel=_RECIPE)] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", rich_help_panel=_RECIPE)] = None,
    optimizer: Annotated[Literal["adamw", "sgd"] | None, typer.Option(rich_help_panel=_RECIPE)] = None,
    weight_decay: Annotated[float | None, typer.Option(rich_help_panel=_RECIPE)] = None,
    schedule: Annotated[
        Literal["onecycle", "multistep", "plateau", "cosine", "constant"] | None, typer.Option(rich_help_panel=_RECIPE)
    ] = None,
    loss: Annotated[Literal["l1", "mse", "huber"] | None, typer.Option(rich_help_panel=_RECIPE)] = None,
    average: Annotated[float | None, typer.Option(help="Decay of the mean of weights.", rich_help_panel=_RECIPE)] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm; 0: none.", rich_help_panel=_RECIPE)] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without progress to stop.", rich_help_panel=_RECIPE)] = None,
    precision: Annotated[Literal["32", "64", "bf16"] | None, typer.Option(rich_help_panel=_RECIPE)] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=_RUN)] = None,
    seeds: Annotated[int | None, typer.Option(help="Train so many members of an ensemble.", rich_help_panel=_RUN)] = None,
    threads: Annotated[int | None, typer.Option(rich_help_panel=_RUN)] = None,
    processes: Annotated[int | None, typer.Option(help="Data-parallel processes.", rich_help_panel=_RUN)] = None,
) -> None:
    """Train a model on DATA and write it to DIR.

    Ctrl-C saves; --resume DIR goes on and ends with the same bits as a run that never stopped.

    Exit codes: 0 done, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    options: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name not in {"data", "target", "out", "resume", "preset", "unit", "log10", "format", "on_disorder", "atom_init"}
    }
    with sentences():
        from cgfast.cli.training_progress import TrainingConsole

        console = TrainingConsole()
        if resume is not None:
            _only_resume(data, target, out, options)
            with console.running(resume):
                from cgfast.training import resume as go_on

                result = go_on(resume, on_start=console.start, on_epoch=console.epoch)
        else:
            if data is None or not target:
                missing = "DATA" if data is None else "--target COLUMN"
                msg = f"{missing} is missing: cgfast train DATA --target COLUMN --out DIR, or cgfast train --resume DIR"
                raise ValueError(msg)
            place = out if out is not None else default_folder(target[0])
            options["split"] = _split_kind(split, split_column, fold)
            options["fractions"] = None if fractions is None else _fractions(fractions)
            with console.running(place):
                from cgfast.training import train as run

                result = run(
                    data,
                    target,
                    out=place,
                    preset=preset,
                    unit=unit,
                    log10=log10,
                    atom_init=atom_init,
                    format=format,
                    on_disorder=on_disorder,
                    on_start=console.start,
                    on_epoch=console.epoch,
                    **options,
                )
        console.done(result)


def default_folder(target: str) -> Path:
    """`<target>-model` in the current folder."""
    name = "".join(c if c.isalnum() or c in "_-." else "-" for c in target).strip("-.") or "cgfast"
    return Path(f"{name}-model")


def _only_resume(data: str | None, target: list[str] | None, out: Path | None, options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None and (name, value) != ("task", "auto")]
    given += [name for name, value in (("DATA", data), ("target", target), ("out", out)) if value]
    if given:
        msg = f"--resume: got {', '.join(given)} too, expected nothing else: the run in the folder knows its own options"
        raise ValueError(msg)


def _split_kind(split: str | None, column: str | None, fold: str | None) -> str | None:
    if sum(value is not None for value in (split, column, fold)) > 1:
        msg = "--split, --split-column and --fold: got several, expected one"
        raise ValueError(msg)
    return "column" if column is not None else "fold" if fold is not None else split


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        msg = f"--fractions: got {text!r}, expected three numbers like 0.8,0.1,0.1"
        raise ValueError(msg) from None
