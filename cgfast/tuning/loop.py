"""The loop over trials: ask, train, tell, and leave the folder such that a kill loses nothing."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from cgfast._files import write_text
from cgfast.tuning.places import BEST, REPORT, STUDY, TABLE
from cgfast.tuning.report import report_html
from cgfast.tuning.results import TrialReport, TrialRow, TuningResult, best_of, table_text
from cgfast.tuning.study_folder import (
    AIM,
    NAME,
    finished,
    load_best,
    locked,
    open_study,
    restart_interrupted,
    take_over_run,
    tidy,
    update_best,
)
from cgfast.tuning.trials import TimeUpError, finish, run_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cgfast.training.callbacks import EpochReport
    from cgfast.training.prepare import Prepared
    from cgfast.tuning.run import Job

STARTUP_TRIALS = 5  # complete trials before any is pruned
WARMUP_SHARE = 4  # nothing is pruned in the first quarter of the epochs


def run_study(
    job: Job,
    *,
    trials: int,
    timeout: float,
    keep: int,
    on_start: Callable[[Prepared], None] | None,
    on_trial: Callable[[TrialReport], None] | None,
    on_epoch: Callable[[EpochReport], None] | None,
) -> TuningResult:
    """Begin the study of a job, or go on with it, until `trials` trials have ended or `timeout` seconds are over.

    Raises KeyboardInterrupt after Ctrl-C, with the table, the report and the best model written. See tune() for the rest.
    """
    began = time.monotonic()
    with locked(job.path), open_study(job.path, make=True) as study:
        _begin(job, study, trials)
        restart_interrupted(study)
        tidy(job.path, study, keep)
        update_best(job.path, study)
        if on_start is not None:
            on_start(job.shared)
        try:
            _loop(job, study, trials, began + timeout, keep, on_trial, on_epoch)
        finally:
            rows = trial_rows(study)
            if rows:
                _write(job, study, rows)
        return _result(job, rows, trials, time.monotonic() - began)


def _begin(job: Job, study: optuna.Study, trials: int) -> None:
    """Check that this is the study that the job means, or make it so."""
    identity = study.user_attrs.get(NAME)
    if identity is None:
        if not study.get_trials(deepcopy=False):
            options = {name: getattr(job.plan.options, name) for name in job.space}
            study.enqueue_trial({name: value for name, value in options.items() if value in job.space[name]})
        study.set_user_attr(NAME, job.identity())
    else:
        job.check_same(identity)
    done = len(finished(study))
    if trials < done:
        msg = f"trials: got {trials}, but {done} are done in {job.path}, expected at least {done}"
        raise ValueError(msg)
    study.set_user_attr(AIM, trials)


def _loop(
    job: Job,
    study: optuna.Study,
    trials: int,
    deadline: float,
    keep: int,
    on_trial: Callable[[TrialReport], None] | None,
    on_epoch: Callable[[EpochReport], None] | None,
) -> None:
    began = time.monotonic()
    epochs = job.plan.options.epochs
    study.pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS, epochs // WARMUP_SHARE)
    distributions = {name: values.distribution() for name, values in job.space.items()}
    first = done = len(finished(study))
    while done < trials:
        # Without a model there is nothing to stop for.
        limit = deadline if best_of(trial_rows(study)) else math.inf
        if time.monotonic() >= limit:
            return
        study.sampler = optuna.samplers.TPESampler(seed=_seed(job.plan.options.seed, done))
        trial = study.ask(distributions)
        place = take_over_run(job.path, trial)
        try:
            outcome = run_trial(
                trial, job.plan, place, job.data, job.shared, prune=job.prune, deadline=limit, on_epoch=on_epoch
            )
        except TimeUpError:
            return
        finish(study, trial, outcome, NAME)
        update_best(job.path, study)
        tidy(job.path, study, keep)
        rows = trial_rows(study)
        write_text(job.path / TABLE, table_text(rows))
        done = len(rows)
        if on_trial is not None:
            took = time.monotonic() - began
            left = took / (done - first) * (trials - done)
            row = next(row for row in rows if row.number == trial.number)
            on_trial(TrialReport(row, done, trials, best_of(rows), took, left))


def _seed(seed: int, done: int) -> int:
    """A sampler of its own for each trial: a study that goes on draws what one that never stopped would have drawn."""
    return int(np.random.SeedSequence([seed, done]).generate_state(1)[0])


def trial_rows(study: optuna.Study) -> list[TrialRow]:
    """The trials that ended, by number."""
    rows = []
    for trial in finished(study):
        kept: dict[str, Any] = trial.user_attrs[NAME]
        rows.append(TrialRow(number=trial.number, options=dict(trial.params), **kept))
    return rows


def _write(job: Job, study: optuna.Study, rows: Sequence[TrialRow]) -> None:
    write_text(job.path / TABLE, table_text(rows))
    best = best_of(rows)
    facts = {
        "target": ", ".join(job.plan.labels),
        "data": "crystals in memory" if job.plan.source is None else job.plan.source.name,
        "preset": job.plan.preset,
        "epochs": str(job.plan.options.epochs),
        "searched": "; ".join(f"{name}: {values}" for name, values in job.space.items()),
    }
    if best is not None:
        facts["best trial"] = f"{best.number}: " + ", ".join(f"{name}={value}" for name, value in best.options.items())
        card = load_best(job.path).card
        for column, values in card["metrics"].items():
            told = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, float))
            facts[f"best trial, {column}, {card['metrics_part']} part"] = told
    write_text(job.path / REPORT, report_html(study, rows, f"Study {job.path.absolute().name}", facts))


def _result(job: Job, rows: Sequence[TrialRow], trials: int, seconds: float) -> TuningResult:
    from cgfast.training.options import TrainOptions

    best = best_of(rows)
    if best is None or best.score is None:
        why = f"; the last: {rows[-1].reason}" if rows else ""
        msg = f"trials: none of {len(rows)} was complete{why}: expected another space, or more trials"
        raise ValueError(msg)
    model = load_best(job.path)
    metrics = {
        column: {name: value for name, value in values.items() if name != "unit"}
        for column, values in model.card["metrics"].items()
    }
    return TuningResult(
        best_options=best.options,
        options=TrainOptions.from_dict(model.card["options"]),
        best_score=best.score,
        best_trial=best.number,
        model=model,
        folder=job.path / BEST,
        metrics=metrics,
        part=model.card["metrics_part"],
        trials=tuple(rows),
        n_done=len(rows),
        n_trials=trials,
        study=job.path / STUDY,
        table=job.path / TABLE,
        report=job.path / REPORT,
        seconds=seconds,
        notes=job.shared.notes,
    )
