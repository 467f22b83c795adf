"""The folder of a study: its database, the runs of its trials, and the best model."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from cgfast._files import FileLock
from cgfast.models import load_model
from cgfast.models.checkpoint import DESCRIPTION
from cgfast.training.run_folder import FAILURES, HISTORY, SPLIT
from cgfast.tuning.places import BEST, LOCK, STUDY, TRIALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgfast.models import PropertyModel

NAME = "cgfast"  # of the study in the database, and of what we keep with it and with its trials
AIM = "trials"
CONTINUES = "continues"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_NEW_BEST, _OLD_BEST = ".best.part", ".best.old"
_SECONDS = 60  # that another reader of the database may keep us waiting


def locked(path: Path) -> FileLock:
    """Make the folder; nobody else may tune in it meanwhile. Raises ValueError if somebody does, or it cannot be written."""
    return FileLock(path, LOCK, busy=f"out: another process is tuning in {path}")


@contextlib.contextmanager
def open_study(path: Path, *, make: bool) -> Iterator[optuna.Study]:
    """The study in the database of this folder. make: it, if there is none. Raises ValueError for a file that holds none."""
    place = path / STUDY
    with quiet():
        try:
            # A path may hold what a URL cannot.
            storage = optuna.storages.RDBStorage(
                "sqlite://",
                engine_kwargs={"creator": lambda: sqlite3.connect(place, timeout=_SECONDS), "poolclass": NullPool},
                skip_table_creation=not make,
            )
            if make:
                study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True)
            else:
                study = optuna.load_study(storage=storage, study_name=NAME)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, KeyError, AssertionError) as error:
            msg = f"out: {place} cannot be read as a study: {type(error).__name__}: {str(error).splitlines()[0]}"
            raise ValueError(msg) from error
        try:
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def read_identity(path: Path) -> dict[str, Any]:
    """What the study in this folder was begun with. Raises ValueError if there is none."""
    if not (path / STUDY).is_file():
        msg = f"resume: {path} holds no study (there is no {STUDY})"
        raise ValueError(msg)
    with open_study(path, make=False) as study:
        attributes = study.user_attrs
    if NAME not in attributes:
        msg = f"resume: {path / STUDY} holds no study of ours that has begun, expected the folder of a study"
        raise ValueError(msg)
    found: dict[str, Any] = attributes[NAME] | {AIM: attributes.get(AIM, 0)}
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna's remarks are for people who write studies."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that ended, complete or pruned, by number."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def ranked(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The complete trials, best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: (trial.value or 0.0, trial.number))


def trial_folder(path: Path, number: int) -> Path:
    """Where the run of a trial is."""
    return path / TRIALS / f"{number:03d}"


def restart_interrupted(study: optuna.Study) -> None:
    """Trials that a killed or stopped call left running count as failed; the same values come again, first of all."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    continued = {trial.user_attrs.get(CONTINUES) for trial in waiting}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.params and trial.number not in continued:
            study.enqueue_trial(trial.params, user_attrs={CONTINUES: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def take_over_run(path: Path, trial: optuna.Trial) -> Path:
    """The folder of a trial that begins; what an interrupted trial with the same values learned is in it."""
    place = trial_folder(path, trial.number)
    place.parent.mkdir(exist_ok=True)
    before = trial.user_attrs.get(CONTINUES)
    if before is not None and trial_folder(path, before).is_dir() and not place.exists():
        trial_folder(path, before).rename(place)
    return place


def tidy(path: Path, study: optuna.Study, keep: int) -> None:
    """Reduce the runs of all ended trials but the `keep` best to their history; remove those that nobody goes on with."""
    kept = {trial.number for trial in ranked(study)[:keep]}
    ended = {trial.number for trial in finished(study)}
    active = study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
    kept |= {number for trial in active for number in (trial.number, trial.user_attrs.get(CONTINUES)) if number is not None}
    for folder in (path / TRIALS).glob("[0-9]*"):
        number = int(folder.name) if folder.name.isdigit() else -1
        if number in kept:
            continue
        if number not in ended:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != HISTORY:
                entry.unlink(missing_ok=True)


def update_best(path: Path, study: optuna.Study) -> None:
    """Make `best/` the model of the best trial, under the name of the study's folder."""
    order = ranked(study)
    if not order:
        return
    best, made = path / BEST, trial_folder(path, order[0].number)
    for leftover in (path / _NEW_BEST, path / _OLD_BEST):
        shutil.rmtree(leftover, ignore_errors=True)
    if not (made / DESCRIPTION).is_file() or best_number(path) == order[0].number:
        return
    model = load_model(made)
    new = path / _NEW_BEST
    card = model.card | {"tuning": {"trial": order[0].number, "searched": order[0].params}}
    replace(model, name=path.absolute().name).save(new, card=card)
    for name in (SPLIT, FAILURES, HISTORY):
        shutil.copyfile(made / name, new / name)
    if best.exists():
        best.rename(path / _OLD_BEST)
    new.rename(best)
    shutil.rmtree(path / _OLD_BEST, ignore_errors=True)


def best_number(path: Path) -> int | None:
    """The number of the trial whose model is in `best/`, None if there is no such model."""
    try:
        found: int = json.loads((path / BEST / DESCRIPTION).read_text(encoding="utf-8"))["card"]["tuning"]["trial"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def load_best(path: Path) -> PropertyModel:
    """The model in `best/`."""
    return load_model(path / BEST)
