"""`cgfast finetune`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgfast.cli import training_options as options_of
from cgfast.cli.errors import sentences
from cgfast.cli.model_options import Column, Model, column_names


def finetune(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Structures with labels: Parquet, or a folder with id_prop.csv.")],
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="As for cgfast train; default: what MODEL learned.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run and its model.")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Only the head learns.")] = False,
    new_head: Annotated[
        bool | None, typer.Option("--new-head/--keep-head", help="Head starts anew; default: for other targets.")
    ] = None,
    task: options_of.Task = "auto",
    unit: options_of.Unit = None,
    log10: options_of.Log10 = False,
    split: options_of.Split = None,
    split_column: options_of.SplitColumn = None,
    fold: options_of.Fold = None,
    fractions: options_of.Fractions = None,
    class_weights: options_of.ClassWeights = None,
    format: options_of.Format = None,  # noqa: A002
    on_disorder: options_of.OnDisorder = "skip",
    column: Column = None,
    epochs: options_of.Epochs = None,
    batch_size: options_of.BatchSize = None,
    batch_atoms: options_of.BatchAtoms = None,
    batch_edges: options_of.BatchEdges = None,
    learning_rate: options_of.LearningRate = None,
    optimizer: options_of.Optimizer = None,
    momentum: options_of.Momentum = None,
    weight_decay: options_of.WeightDecay = None,
    schedule: options_of.Schedule = None,
    milestones: options_of.Milestones = None,
    gamma: options_of.Gamma = None,
    loss: options_of.Loss = None,
    huber_delta: options_of.HuberDelta = None,
    average: options_of.Average = None,
    clip: options_of.Clip = None,
    patience: options_of.Patience = None,
    precision: options_of.Precision = None,
    seed: options_of.Seed = None,
    seeds: options_of.Seeds = None,
    threads: options_of.Threads = None,
    processes: options_of.Processes = None,
    device: options_of.Device = None,
) -> None:
    """Train MODEL on with your own DATA and write the result to DIR.

    Network and graphs are MODEL's. Ctrl-C saves; `cgfast train --resume DIR` goes on.

    Exit codes: 0 done, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    arguments = locals()
    with sentences():
        from cgfast.cli.training_progress import TrainingConsole

        place = out if out is not None else Path(f"{Path(model).name}-finetuned")
        options = options_of.train_options(arguments)
        console = TrainingConsole()
        with console.running(place):
            from cgfast.training import finetune as run

            result = run(
                model,
                data,
                target or None,
                out=place,
                freeze=freeze,
                new_head=new_head,
                unit=unit,
                log10=log10,
                format=format,
                columns=column_names(column),
                on_disorder=on_disorder,
                on_start=console.start,
                on_epoch=console.epoch,
                **options,
            )
        console.done(result)
