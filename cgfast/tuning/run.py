"""A study: trainings with different options, one after the other, judged by the validation part."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast._optional import require
from cgfast.training.run import check_packages, make_plan, prepare_plan
from cgfast.training.run_folder import RunPlan
from cgfast.training.source import Source, Wanted, read_again, texts_of
from cgfast.tuning.graphs import SharedData
from cgfast.tuning.places import check_out, folder_of
from cgfast.tuning.space import Choices, Range, check_space, default_space, parse_space

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from cgfast.io.labelled import LabelledCrystals
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.prepare import Prepared
    from cgfast.tuning.results import TrialReport, TuningResult

KEEP = 3
FORMAT, VERSION = "cgfast-study", 1


@dataclass(frozen=True, slots=True)
class Job:
    """A study that can begin or go on: what all trials share, and what each may change.

    plan: of a trial, but for the searched options. data: what was read, shared: the same ready to train on.
    """

    path: Path
    plan: RunPlan
    data: LabelledCrystals
    shared: SharedData
    space: dict[str, Range | Choices]
    prune: bool

    def identity(self) -> dict[str, Any]:
        """What must not change between the calls that make up a study, as plain JSON types."""
        plan = self.plan.to_dict()
        return {
            "format": FORMAT,
            "version": VERSION,
            "plan": plan,
            "space": {name: str(values) for name, values in self.space.items()},
            "prune": self.prune,
            "data": self.shared.fingerprint,
            "split": self.shared.split_hash,
            "atom_init": _hash(self.plan.atom_init),
        }

    def check_same(self, found: Mapping[str, Any]) -> None:
        """Raises ValueError if the study in the folder, whose identity is `found`, is another one."""
        _check_format(found, self.path)
        own = self.identity()
        plan, before = own.pop("plan"), found["plan"]
        for name, what in (("data", "other data"), ("split", "another split"), ("atom_init", "other element features")):
            if found.get(name) != own[name]:
                argument = "atom_init" if name == "atom_init" else "data"
                msg = f"{argument}: the study in {self.path} was begun with {what}, expected the same or another folder"
                raise ValueError(msg)
        same = {**_settings(plan), **own["space"], "prune": own["prune"]}
        then = {**_settings(before), **found["space"], "prune": found["prune"]}
        for name in sorted(set(same) | set(then)):
            if same.get(name) != then.get(name):
                got, had = _told(same.get(name)), _told(then.get(name))
                msg = f"{name}: got {got}, but the study in {self.path} has {had}: expected the same or another folder"
                raise ValueError(msg)


def tune(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | LabelledCrystals,
    target: str | Sequence[str],
    *,
    out: str | os.PathLike[str],
    trials: int = 50,
    space: Mapping[str, Any] | None = None,
    preset: str = "fast",
    timeout: float | None = None,
    seed: int = 0,
    prune: bool = True,
    keep: int = KEEP,
    unit: str | Sequence[str] | None = None,
    log10: bool = False,
    atom_init: str | os.PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002 - the word cgfast.io.read uses
    columns: Mapping[str, str] | None = None,
    on_disorder: str = "skip",
    card: dict[str, Any] | None = None,
    on_start: Callable[[Prepared], None] | None = None,
    on_trial: Callable[[TrialReport], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    **options: Any,  # noqa: ANN401 - see TrainOptions
) -> TuningResult:
    """Search for the options that train the best model, and write the study to the folder `out`.

    data, target, preset, unit, log10, atom_init, format, columns, on_disorder, card, options: as train() takes them;
    options that are given (None is a value: max_neighbors=None) are the same in all trials. space: what is searched in
    place of DEFAULT_SPACE, option -> `LOW..HIGH`, `LOW..HIGH:log`, `LOW..HIGH:step=S`, `A|B|C`, or a list of choices (see
    parse_space()). trials: that end, in all calls together. timeout: seconds of this call; the trial that runs then goes on
    in the next call, unless none is complete yet. prune: end trials whose best validation score after some epoch is worse
    than the median of those before (from the sixth trial and a quarter of the epochs on). keep: so many of the best trials
    keep their run folders in `trials/`, the others their metrics.csv. on_start: gets the data, on_trial a report after each
    trial, on_epoch one after each epoch.

    The folder holds `study.sqlite3` (Optuna's), `trials.csv`, `report.html`, `trials/` and `best/`, a model folder that
    load_model() reads. Called again with the same folder it goes on, also after a kill or Ctrl-C, with the trial it was in.
    All trials have one split; they are judged by the validation part, and the test part only tells how good the best is. The
    first trial has the values of the preset where the space has them; a trial whose loss diverges is pruned.

    Reproducible on one machine with the same versions of Optuna and torch, also when it was stopped and went on: the values of
    a trial are a function of `seed`, the space and the results before it. `seed` is that of the trainings and the split, too.

    Raises ValueError as train() does; for an unknown option in the space, an empty range, the logarithm of what is not
    positive; for a folder that holds something else, or a study of other data, options or space; for fewer trials than are
    done - all before anything is written; and when no trial was complete. Raises ImportError with the command if the extra
    `train` is missing.
    """
    _check_packages()
    path = folder_of("out", out)
    _check_numbers(trials, timeout, keep)
    check_out(path)
    wanted = Wanted.parse(target, log10=log10)
    source = Source.of(data, format=format, columns=columns, on_disorder=on_disorder)
    given = options | {"seed": seed}
    searched = None if space is None else _searched(space, given)
    plan, read = make_plan(data, source, wanted, preset, texts_of("unit", unit), atom_init, card, given)
    chosen = default_space(plan.options, list(given)) if searched is None else searched
    _check_options(plan, chosen)
    job = Job(path, plan, read, SharedData.of(prepare_plan(plan, read, None)), chosen, prune)
    return _run(job, trials, timeout, keep, on_start, on_trial, on_epoch)


def resume(
    folder: str | os.PathLike[str],
    *,
    data: LabelledCrystals | None = None,
    trials: int | None = None,
    timeout: float | None = None,
    keep: int = KEEP,
    on_start: Callable[[Prepared], None] | None = None,
    on_trial: Callable[[TrialReport], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> TuningResult:
    """Go on with the study in a folder, until `trials` trials have ended (default: as many as were last asked for).

    data: needed if the study was given LabelledCrystals instead of a path. The rest is as in tune(). A study that is complete
    is read and returned, its report written anew.

    Raises ValueError if the folder holds no study, the data are not those it was begun with, and as tune() does.
    """
    _check_packages()
    from cgfast.tuning.study_folder import AIM, read_identity

    path = folder_of("folder", folder)
    found = read_identity(path)
    _check_format(found, path)
    aim = max(found[AIM], 1) if trials is None else trials
    _check_numbers(aim, timeout, keep)
    plan = RunPlan.from_dict(found["plan"])
    if data is None:
        data = read_again(plan.source, plan.labels, plan.options, [target.classes for target in plan.targets])
    shared = SharedData.of(prepare_plan(plan, data, None))
    job = Job(path, plan, data, shared, parse_space(found["space"]), found["prune"])
    return _run(job, aim, timeout, keep, on_start, on_trial, on_epoch)


def _run(
    job: Job,
    trials: int,
    timeout: float | None,
    keep: int,
    on_start: Callable[[Prepared], None] | None,
    on_trial: Callable[[TrialReport], None] | None,
    on_epoch: Callable[[EpochReport], None] | None,
) -> TuningResult:
    from cgfast.tuning.loop import run_study

    return run_study(
        job,
        trials=trials,
        timeout=math.inf if timeout is None else float(timeout),
        keep=keep,
        on_start=on_start,
        on_trial=on_trial,
        on_epoch=on_epoch,
    )


def _check_packages() -> None:
    check_packages()
    for package in ("optuna", "plotly"):
        require(package, "train")


def _check_format(found: Mapping[str, Any], path: Path) -> None:
    if found.get("format") != FORMAT or found.get("version", VERSION + 1) > VERSION:
        msg = f"{path} holds {found.get('format')} version {found.get('version')}, expected {FORMAT} up to {VERSION}"
        raise ValueError(msg)


def _check_numbers(trials: int, timeout: float | None, keep: int) -> None:
    for name, value in (("trials", trials), ("keep", keep)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name}: got {value!r}, expected a whole number of at least 1"
            raise ValueError(msg)
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, Real) or not timeout > 0):
        msg = f"timeout: got {timeout!r}, expected seconds above 0"
        raise ValueError(msg)


def _searched(space: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Range | Choices]:
    parsed = parse_space(space)
    both = sorted(set(parsed) & set(given))
    if both:
        msg = f"{', '.join(both)}: got a value and a search, expected one of them"
        raise ValueError(msg)
    return parsed


def _check_options(plan: RunPlan, space: dict[str, Range | Choices]) -> None:
    for name in ("seeds", "processes"):
        if getattr(plan.options, name) != 1:
            msg = f"{name}: got {getattr(plan.options, name)}, expected 1: trials are single models, one after the other"
            raise ValueError(msg)
    check_space(space, plan.options)


def _settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What of a plan must not change: not where files are, which have fingerprints, nor threads, nor the card."""
    options = {name: value for name, value in plan["options"].items() if name != "threads"}
    targets = {"target": plan["labels"], **{k: [target[k] for target in plan["targets"]] for k in ("column", "unit")}}
    return {**targets, "preset": plan["preset"], **options}


def _hash(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _told(value: object) -> str:
    return "nothing" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
