"""The folder of a run: what it is made of, and the plan that it follows."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cgfast._files import FileLock, write_text
from cgfast.io.batch import printable
from cgfast.models.catalogue import Target
from cgfast.models.checkpoint import DESCRIPTION, WEIGHTS
from cgfast.training.options import TrainOptions
from cgfast.training.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgfast.io import Failure
    from cgfast.models import PropertyModel
    from cgfast.training.prepare import Prepared

PLAN, SPLIT, FAILURES, HISTORY, LOCK = "run.json", "split.csv", "failures.csv", "metrics.csv", ".lock"
CHECKPOINTS, MEMBERS = "checkpoints", "members"
FORMAT, VERSION = "cgfast-run", 1
_LATER = ("atom_init",)  # what the first runs did not note of their data


@dataclass(frozen=True, slots=True)
class Start:
    """A trained model to start from: its name or path, the hash of its weights, and what is kept of it."""

    model: str
    sha256: str
    freeze: bool
    new_head: bool

    def load(self) -> PropertyModel:
        """The model. Raises ValueError if it is not the one that the run began with."""
        from cgfast.models import load_model

        model = load_model(self.model)
        if model.sha256 != self.sha256:
            msg = f"model: {self.model} holds other weights than the run began with"
            raise ValueError(msg)
        return model


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that decides a run but the data itself. source: None for crystals in memory."""

    source: Source | None
    labels: tuple[str, ...]
    targets: tuple[Target, ...]
    options: TrainOptions
    preset: str
    atom_init: str | None
    start: Start | None
    card: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        return {
            "source": None if self.source is None else asdict(self.source),
            "labels": list(self.labels),
            "targets": [target._asdict() for target in self.targets],
            "options": self.options.to_dict(),
            "preset": self.preset,
            "atom_init": self.atom_init,
            "start": None if self.start is None else asdict(self.start),
            "card": self.card,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> RunPlan:
        """The inverse of to_dict()."""
        targets = [Target(**{**t, "classes": tuple(t["classes"]) if t["classes"] else None}) for t in fields["targets"]]
        return cls(
            source=None if fields["source"] is None else Source(**fields["source"]),
            labels=tuple(fields["labels"]),
            targets=tuple(targets),
            options=TrainOptions.from_dict(fields["options"]),
            preset=fields["preset"],
            atom_init=fields["atom_init"],
            start=None if fields["start"] is None else Start(**fields["start"]),
            card=fields["card"],
        )


class RunFolder:
    """`run.json` (plan), `split.csv`, `failures.csv`, `metrics.csv` (an epoch a line), `checkpoints/` to go on from (an
    ensemble has them in `members/K/`), and at the end `model.json` and `model.safetensors`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False  # the folder itself, by this object
        self._began = False  # the run in it

    @classmethod
    def new(cls, out: str | os.PathLike[str]) -> Self:
        """The folder of a run that is to begin. Raises ValueError if something is there already, or the folder above is not."""
        folder = cls._named("out", out)
        folder.check_new()
        return folder

    @classmethod
    def existing(cls, folder: str | os.PathLike[str]) -> Self:
        """The folder of a run that is to go on: read_plan() says whether it is one."""
        return cls._named("resume", folder)

    @classmethod
    def _named(cls, what: str, path: Any) -> Self:  # noqa: ANN401 - what a user gives
        if not isinstance(path, str | os.PathLike):
            msg = f"{what}: got {path!r}, expected the name of a folder"
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
        return cls(Path(path))

    def check_new(self) -> None:
        """Raises ValueError if something is there already, or the folder above is not."""
        if self.path.exists() and (not self.path.is_dir() or any(p.name != LOCK for p in self.path.iterdir())):
            run = (self.path / PLAN).is_file()
            hint = f"another folder, or resume to go on with the run in {self.path}" if run else "a new or empty folder"
            msg = f"out: {self.path} is there already, expected {hint}"
            raise ValueError(msg)
        if not self.path.absolute().parent.is_dir():
            msg = f"out: the folder {self.path.absolute().parent} does not exist"
            raise ValueError(msg)

    def read_plan(self) -> RunPlan:
        """The plan of the run in this folder. Raises ValueError if there is none."""
        return RunPlan.from_dict(self._read()["plan"])

    def _read(self) -> dict[str, Any]:
        place = self.path / PLAN
        if self.path.exists() and not self.path.is_dir():
            msg = f"resume: got the file {self.path}, expected the folder of a run"
            raise ValueError(msg)
        try:
            found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            if found["format"] != FORMAT or found["version"] > VERSION:
                msg = f"format {found['format']} version {found['version']}, expected {FORMAT} up to {VERSION}"
                raise ValueError(msg)
            RunPlan.from_dict(found["plan"])
        except FileNotFoundError:
            msg = f"resume: {self.path} holds no run (there is no {PLAN})"
            raise ValueError(msg) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            msg = f"resume: {place} cannot be read as a run: {type(error).__name__} {error}"
            raise ValueError(msg) from error
        return found

    @contextlib.contextmanager
    def open(self, plan: RunPlan, prepared: Prepared) -> Iterator[None]:
        """Make the folder, or check that the run in it began with the same data; nobody else may run in it meanwhile."""
        text = _plan_text(plan, prepared)
        self._made = not self.path.exists()
        with FileLock(self.path, LOCK, busy=f"out: another process is training in {self.path}"):
            self._began = not (self.path / PLAN).is_file()
            if self._began:
                write_text(self.path / SPLIT, prepared.split)
                write_text(self.path / FAILURES, _failures_text(prepared.failures))
                write_text(self.path / PLAN, text)
            else:
                self._check_same(plan, _identity(plan, prepared))
            yield

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """For the other processes of a run: the first one holds the lock and writes."""
        yield

    def _check_same(self, plan: RunPlan, identity: dict[str, str]) -> None:
        """Raises ValueError if the run that is here began with other data or options."""
        found = self._read()
        for name, value in identity.items():
            if found.get("identity", {}).get(name, value if name in _LATER else None) != value:
                msg = f"resume: the {name} is not what the run in {self.path} began with; expected the same files"
                raise ValueError(msg)
        before, now = _deciding(RunPlan.from_dict(found["plan"])), _deciding(plan)
        for name in before:
            if before[name] != now[name]:
                msg = f"resume: {name} is {now[name]}, but the run in {self.path} began with {before[name]}"
                raise ValueError(msg)

    def undo(self) -> None:
        """Remove a run that this object began and that came to nothing, so that the folder can be that of another."""
        if not self._began or (self.path / DESCRIPTION).is_file():
            return
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if self._made:
            with contextlib.suppress(OSError):  # somebody else put something there
                self.path.rmdir()

    def member(self, index: int, members: int) -> Path:
        """Where the checkpoints of a member are."""
        return self.path / CHECKPOINTS if members == 1 else self.path / MEMBERS / str(index)

    def write_history(self, rows: Sequence[dict[str, float]], index: int, members: int) -> None:
        """`metrics.csv`, written anew after each epoch; a member's own is beside its checkpoints."""
        if not rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if members > 1:
            self.member(index, members).mkdir(parents=True, exist_ok=True)
            write_text(self.member(index, members) / HISTORY, text.getvalue())
        if index == 0:
            write_text(self.path / HISTORY, text.getvalue())

    def finish(self, model: PropertyModel) -> PropertyModel:
        """Write the model, and return it as it is in the file."""
        model.save(self.path)
        return replace(model, sha256=file_hash(self.path / WEIGHTS))

    def result(self) -> tuple[PropertyModel, list[dict[str, float]], int, int] | None:
        """Of a run that is complete: its model, the history of its first member, and how many rows were used and were not.

        None for a run that is not, or whose files are damaged: it can go on.
        """
        from cgfast.models import load_model

        try:
            model = load_model(self.path)
            if model.card.get("complete") is not True or "metrics" not in model.card:
                return None
            history = [{name: float(value) for name, value in row.items()} for row in _rows(self.path / HISTORY)]
            return model, history, len(_rows(self.path / SPLIT)), len(_rows(self.path / FAILURES))
        except (OSError, ValueError, TypeError, csv.Error):
            return None


def _identity(plan: RunPlan, prepared: Prepared) -> dict[str, str]:
    """What tells a run's data from others."""
    found = {"data": prepared.fingerprint, "split": prepared.split_hash}
    if plan.atom_init is not None:
        found["atom_init"] = file_hash(Path(plan.atom_init))
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _deciding(plan: RunPlan) -> dict[str, Any]:
    """What of a plan decides the bits of its model: not places of files, which have a fingerprint, nor threads, nor words."""
    options = {name: value for name, value in plan.options.to_dict().items() if name != "threads"}
    start = None if plan.start is None else (plan.start.sha256, plan.start.freeze, plan.start.new_head)
    fields = {"target": plan.labels, "targets": plan.targets, "start": start, "atom_init": plan.atom_init is not None}
    return fields | options


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _plan_text(plan: RunPlan, prepared: Prepared) -> str:
    """`run.json`. Raises ValueError for a card that JSON cannot hold."""
    contents = {"format": FORMAT, "version": VERSION, "plan": plan.to_dict(), "identity": _identity(plan, prepared)}
    try:
        return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        msg = f"card: got {plan.card!r}, expected what JSON can hold: {error}"
        raise ValueError(msg) from error


def _failures_text(failures: Sequence[Failure]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "row", "stage", "reason"))
    writer.writerows((printable(f.id), f.row, f.stage, printable(f.reason)) for f in failures)
    return text.getvalue()
