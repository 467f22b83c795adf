"""The loop itself: Lightning's, set up to be quiet, exact in going on, and never torn."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from cgfast.training.callbacks import BEST, LAST, AtomicCheckpoints, make_callbacks
from cgfast.training.processes import strategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lightning.pytorch.loggers import Logger

    from cgfast.nn import CGCNN
    from cgfast.training.callbacks import History
    from cgfast.training.feed import TrainingData
    from cgfast.training.module import TrainingModule
    from cgfast.training.options import TrainOptions


class InterruptedRunError(KeyboardInterrupt):
    """Ctrl-C during training; everything up to the last whole epoch is saved."""


def fit(
    module: TrainingModule,
    data: TrainingData,
    options: TrainOptions,
    folder: Path,
    history: History,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train until the last epoch, going on from `folder`'s last checkpoint if there is one.

    Raises InterruptedRunError after Ctrl-C, with the epochs that are done saved, and ValueError for a checkpoint that is
    none.
    """
    last = folder / LAST
    goes_on = last.is_file()
    if goes_on:
        found = read_checkpoint(last)["callbacks"]
        if _is_out_of_patience(found):
            history.load_state_dict(found[history.state_key])
            return
    with _quiet(), _own_interrupt():
        trainer = Trainer(
            accelerator="gpu" if options.device == "cuda" else "cpu",
            devices=options.processes,
            strategy=strategy(options.processes),
            max_epochs=options.epochs,
            callbacks=make_callbacks(options, folder, history),
            plugins=[AtomicCheckpoints()],
            gradient_clip_val=options.clip or None,
            logger=list(loggers) or False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
        try:
            trainer.fit(module, data, ckpt_path=str(last) if goes_on else None, weights_only=True)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise InterruptedRunError from None
        if trainer.interrupted:
            raise InterruptedRunError
        module.cpu()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, as data: nothing in it is executed. Raises ValueError if it is missing, cut short or no such."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not {"state_dict", "callbacks", "epoch", "pytorch-lightning_version"} <= set(found):
            msg = "it is no checkpoint of a training"
            raise ValueError(msg)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        msg = f"resume: {path} cannot be read ({reason}); without the folder {path.parent} this training begins anew"
        raise ValueError(msg) from error
    return found


def _is_out_of_patience(callbacks: dict[str, Any]) -> bool:
    """Whether early stopping had ended the training of this checkpoint: Lightning would begin another epoch."""
    stopping = [state for name, state in callbacks.items() if name.startswith(EarlyStopping.__name__)]
    return any(state["wait_count"] >= state["patience"] for state in stopping)


def load_best(network: CGCNN, folder: Path) -> None:
    """Give the network the weights of its best epoch. Raises ValueError if they cannot be read."""
    prefix = "network."  # its name in the module that was trained
    state = read_checkpoint(folder / BEST)["state_dict"]
    network.load_state_dict({name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's remarks are for people who write loops."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _own_interrupt() -> Iterator[None]:
    """Lightning ignores further Ctrl-C for good once it met one; give back what was."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
