"""Options of the commands that train: annotations that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_NETWORK, _GRAPH, _RECIPE, _DATA, _RUN = "Network", "Graph", "Recipe", "Data", "Run"

Task = Annotated[
    Literal["auto", "regression", "classification"], typer.Option(help="Numbers or two classes.", rich_help_panel=_DATA)
]
Unit = Annotated[list[str] | None, typer.Option(help="Unit of each target, if the file does not say.", rich_help_panel=_DATA)]
Log10 = Annotated[bool, typer.Option("--log10", help="Learn the logarithm of every target.", rich_help_panel=_DATA)]
Split = Annotated[
    Literal["grouped", "random"] | None,
    typer.Option(help="grouped (default): crystals of one formula stay together.", rich_help_panel=_DATA),
]
SplitColumn = Annotated[str | None, typer.Option(help="Column with train, val, test.", rich_help_panel=_DATA)]
Fold = Annotated[str | None, typer.Option(metavar="K/N", help="Fold K of N, by formula, is the test.", rich_help_panel=_DATA)]
Fractions = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Shares of train, val, test [0.8,0.1,0.1].", rich_help_panel=_DATA)
]
ClassWeights = Annotated[
    Literal["none", "balanced"] | None, typer.Option(help="Weigh the rarer class more.", rich_help_panel=_DATA)
]
Format = Annotated[str | None, typer.Option(help="Input format, if the name does not tell.", rich_help_panel=_DATA)]
OnDisorder = Annotated[Literal["skip", "majority", "error"], typer.Option(help="Partly occupied sites.", rich_help_panel=_DATA)]
Conv = Annotated[Literal["CGConv", "CrystalGraphConv"] | None, typer.Option(help="Convolution.", rich_help_panel=_NETWORK)]
AtomFeaLen = Annotated[int | None, typer.Option(help="Features per atom.", rich_help_panel=_NETWORK)]
NConv = Annotated[int | None, typer.Option(help="Convolutions.", rich_help_panel=_NETWORK)]
HFeaLen = Annotated[int | None, typer.Option(help="Width of the head.", rich_help_panel=_NETWORK)]
NH = Annotated[int | None, typer.Option(help="Layers of the head.", rich_help_panel=_NETWORK)]
Readout = Annotated[
    Literal["head", "atom", "site"] | None,
    typer.Option(help="head of pooled atoms, of every atom, or linear in it.", rich_help_panel=_NETWORK),
]
Activation = Annotated[Literal["softplus", "silu"] | None, typer.Option(rich_help_panel=_NETWORK)]
Pooling = Annotated[
    Literal["mean", "sum", "min", "max"] | None, typer.Option(help="Of atoms to a crystal.", rich_help_panel=_NETWORK)
]
AtomInit = Annotated[Path | None, typer.Option(help="JSON of element features, not a learned table.", rich_help_panel=_NETWORK)]
Cutoff = Annotated[float | None, typer.Option(help="Å.", rich_help_panel=_GRAPH)]
MaxNeighbors = Annotated[int | None, typer.Option(help="Nearest; 0: all inside the cutoff.", rich_help_panel=_GRAPH)]
Ties = Annotated[Literal["canonical", "shell"] | None, typer.Option(help="Rule for equal distances.", rich_help_panel=_GRAPH)]
Epochs = Annotated[int | None, typer.Option(rich_help_panel=_RECIPE)]
BatchSize = Annotated[int | None, typer.Option(help="Crystals per step.", rich_help_panel=_RECIPE)]
BatchAtoms = Annotated[int | None, typer.Option(help="At most so many atoms.", rich_help_panel=_RECIPE)]
BatchEdges = Annotated[int | None, typer.Option(help="At most so many edges.", rich_help_panel=_RECIPE)]
LearningRate = Annotated[float | None, typer.Option("--learning-rate", "--lr", rich_help_panel=_RECIPE)]
Optimizer = Annotated[Literal["adamw", "sgd"] | None, typer.Option(rich_help_panel=_RECIPE)]
WeightDecay = Annotated[float | None, typer.Option(rich_help_panel=_RECIPE)]
Schedule = Annotated[
    Literal["onecycle", "multistep", "plateau", "cosine", "constant"] | None, typer.Option(rich_help_panel=_RECIPE)
]
Loss = Annotated[Literal["l1", "mse", "huber"] | None, typer.Option(rich_help_panel=_RECIPE)]
Average = Annotated[float | None, typer.Option(help="Decay of the mean of weights.", rich_help_panel=_RECIPE)]
Clip = Annotated[float | None, typer.Option(help="Largest gradient norm; 0: none.", rich_help_panel=_RECIPE)]
Patience = Annotated[int | None, typer.Option(help="Epochs without progress to stop.", rich_help_panel=_RECIPE)]
Precision = Annotated[Literal["32", "64", "bf16"] | None, typer.Option(rich_help_panel=_RECIPE)]
Seed = Annotated[int | None, typer.Option(rich_help_panel=_RUN)]
Seeds = Annotated[int | None, typer.Option(help="Train so many members of an ensemble.", rich_help_panel=_RUN)]
Threads = Annotated[int | None, typer.Option(rich_help_panel=_RUN)]
Processes = Annotated[int | None, typer.Option(help="Data-parallel processes.", rich_help_panel=_RUN)]


def split_options(split: str | None, column: str | None, fold: str | None, fractions: str | None) -> dict[str, Any]:
    """The options `split` and `fractions` that the command line means. Raises ValueError for several splits, and no numbers."""
    if sum(value is not None for value in (split, column, fold)) > 1:
        msg = "--split, --split-column and --fold: got several, expected one"
        raise ValueError(msg)
    kind = "column" if column is not None else "fold" if fold is not None else split
    return {"split": kind, "fractions": None if fractions is None else _numbers(fractions)}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        msg = f"--fractions: got {text!r}, expected three numbers like 0.8,0.1,0.1"
        raise ValueError(msg) from None


def train_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's arguments that are options of a training."""
    from dataclasses import fields

    from cgfast.training import TrainOptions

    names = {field.name for field in fields(TrainOptions)}
    return {name: value for name, value in arguments.items() if name in names}
