"""`cgfast train`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Literal

import typer

from cgfast.cli import training_options as options_of
from cgfast.cli.errors import sentences
from cgfast.cli.model_options import Column, column_names, default_folder, given_arguments


def train(
    context: typer.Context,
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
    conv: options_of.Conv = None,
    atom_fea_len: options_of.AtomFeaLen = None,
    n_conv: options_of.NConv = None,
    h_fea_len: options_of.HFeaLen = None,
    n_h: options_of.NH = None,
    readout: options_of.Readout = None,
    activation: options_of.Activation = None,
    pooling: options_of.Pooling = None,
    atom_init: options_of.AtomInit = None,
    cutoff: options_of.Cutoff = None,
    max_neighbors: options_of.MaxNeighbors = None,
    ties: options_of.Ties = None,
    missing: options_of.Missing = None,
    step: options_of.Step = None,
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
    """Train a model on DATA and write it to DIR.

    Ctrl-C saves; --resume DIR goes on and ends with the same bits as a run that never stopped.

    Exit codes: 0 done, 2 bad input, 3 unexpected error, 130 interrupted.
    """
    arguments = locals()
    with sentences():
        from cgfast.cli.training_progress import TrainingConsole

        console = TrainingConsole()
        if resume is not None:
            _only_resume(context)
            with console.running(resume):
                from cgfast.training import resume as go_on

                result = go_on(resume, on_start=console.start, on_epoch=console.epoch)
        else:
            if data is None or not target:
                lacking = "DATA" if data is None else "--target COLUMN"
                msg = f"{lacking} is missing: cgfast train DATA --target COLUMN --out DIR, or cgfast train --resume DIR"
                raise ValueError(msg)
            place = out if out is not None else default_folder(target[0], "model")
            options = options_of.train_options(arguments)
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
                    columns=column_names(column),
                    on_disorder=on_disorder,
                    on_start=console.start,
                    on_epoch=console.epoch,
                    **options,
                )
        console.done(result)


def _only_resume(context: typer.Context) -> None:
    """Raises ValueError for anything else on the command line: the run knows its own options."""
    given = [name for name in given_arguments(context) if name != "--resume"]
    if given:
        msg = f"--resume: got {', '.join(given)} too, expected nothing else: the run in the folder knows its own options"
        raise ValueError(msg)
