"""Options of the commands that train: annotations that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_NETWORK, _GRAPH, _RECIPE, _DATA, _RUN = "Network", "Graph", "Recipe", "Data", "Run"

Task = Annotated[
    Literal["auto", "regression", "classification"], typer.Option(help="Numbers or two classes.", rich_help_panel=_DATA)
]
Unit = Annotated[
    list[str] | None, typer.Option(help="Unit of each target; wins over what the file says.", rich_help_panel=_DATA)
]
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
Missing = Annotated[
    Literal["drop", "pad-2018"] | None,
    typer.Option(help="Fewer neighbours than asked for: fewer, or as in 2018.", rich_help_panel=_GRAPH),
]
Step = Annotated[float | None, typer.Option(help="Å between the Gaussians of distances.", rich_help_panel=_GRAPH)]
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
Milestones = Annotated[
    str | None, typer.Option(metavar="A,B,...", help="Epochs behind which multistep lowers the rate.", rich_help_panel=_RECIPE)
]
Gamma = Annotated[float | None, typer.Option(help="By which multistep and plateau multiply the rate.", rich_help_panel=_RECIPE)]
Momentum = Annotated[float | None, typer.Option(help="Of sgd.", rich_help_panel=_RECIPE)]
Loss = Annotated[Literal["l1", "mse", "huber"] | None, typer.Option(rich_help_panel=_RECIPE)]
HuberDelta = Annotated[
    float | None, typer.Option(help="Where huber turns linear, in standard deviations of the target.", rich_help_panel=_RECIPE)
]
Average = Annotated[float | None, typer.Option(help="Decay of the mean of weights.", rich_help_panel=_RECIPE)]
Clip = Annotated[float | None, typer.Option(help="Largest gradient norm; 0: none.", rich_help_panel=_RECIPE)]
Patience = Annotated[int | None, typer.Option(help="Epochs without progress to stop.", rich_help_panel=_RECIPE)]
Precision = Annotated[Literal["32", "64", "bf16"] | None, typer.Option(rich_help_panel=_RECIPE)]
Seed = Annotated[int | None, typer.Option(rich_help_panel=_RUN)]
Seeds = Annotated[int | None, typer.Option(help="Train so many members of an ensemble.", rich_help_panel=_RUN)]
Threads = Annotated[int | None, typer.Option(rich_help_panel=_RUN)]
Processes = Annotated[int | None, typer.Option(help="Data-parallel processes.", rich_help_panel=_RUN)]
Device = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Where to compute.", rich_help_panel=_RUN)]


def train_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's arguments that are options of a training and were given.

    Raises ValueError for several splits, and for lists that hold no numbers.
    """
    from dataclasses import fields

    from cgfast.training import TrainOptions

    names = {field.name for field in fields(TrainOptions)}
    given = {name: value for name, value in arguments.items() if name in names and value is not None}
    splits = [name for name in ("split", "split_column", "fold") if name in given]
    if len(splits) > 1:
        msg = "--split, --split-column and --fold: got several, expected one"
        raise ValueError(msg)
    if splits and splits != ["split"]:
        given["split"] = splits[0].removeprefix("split_")
    if "fractions" in given:
        given["fractions"] = _numbers("--fractions", given["fractions"], float, "three numbers like 0.8,0.1,0.1")
    if "milestones" in given:
        given["milestones"] = _numbers("--milestones", given["milestones"], int, "epochs like 200,250")
    if given.get("max_neighbors") == 0:
        given["max_neighbors"] = None
    return given


def _numbers(option: str, text: str, kind: type[float | int], expected: str) -> tuple[float, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        msg = f"{option}: got {text!r}, expected {expected}"
        raise ValueError(msg) from None
