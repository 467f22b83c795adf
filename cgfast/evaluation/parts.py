"""Which rows of the input belong to a part of a split."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.io.batch import id_text

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

SPLIT_FILE = "split.csv"
DEFAULT_PART, TRAINING_PART = "test", "train"


def split_file(model_source: str, split: str | os.PathLike[str] | None, part: str | None) -> Path | None:
    """The split to go by: `split`, or that of the run folder `model_source` when only a part is named; None: every row.

    Raises ValueError for a part without a split.
    """
    if split is not None:
        return Path(split)
    if part is None:
        return None
    path = Path(model_source) / SPLIT_FILE
    if not (model_source and path.is_file()):
        place = model_source or "a model in memory"
        msg = f"part: got {part!r}, but {place} has no {SPLIT_FILE}: expected split to name a file (id, row, part)"
        raise ValueError(msg)
    return path


def read_part(path: Path, part: str) -> dict[int, str]:
    """Row of the input -> id, for the rows of `part`.

    Raises ValueError for a file that is no split, and a part that it does not have.
    """
    rows: dict[int, str] = {}
    found: dict[str, None] = {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            for line in csv.DictReader(file):
                found[line["part"]] = None
                if line["part"] == part:
                    rows[int(line["row"])] = line["id"]
    except FileNotFoundError:
        msg = f"split: there is no file {path}"
        raise ValueError(msg) from None
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        msg = f"split: {path} must be CSV with the columns id, row and part: {type(error).__name__} {error}"
        raise ValueError(msg) from None
    if not rows:
        known = ", ".join(repr(name) for name in found if name) or "no part"
        msg = f"part: got {part!r}, expected one that {path} has: {known}"
        raise ValueError(msg)
    return rows


def in_part(part: dict[int, str], rows: NDArray[np.int64], ids: NDArray[Any], failed_rows: set[int]) -> NDArray[np.bool_]:
    """(B,) whether each crystal, of input row `rows` and id `ids`, belongs to the part.

    Raises ValueError if the split was made for other data: a row that is neither here nor failed, or has another id here.
    """
    here = _names(rows, ids)
    for row, name in part.items():
        expected = id_text(name)
        if row in here and here[row] != expected:
            msg = f"split: row {row} is {expected!r}, but {here[row]!r} in the data; expected the data it was made for"
            raise ValueError(msg)
        if row not in here and row not in failed_rows:
            msg = f"split: row {row} (id {expected!r}) is not in the data; expected the data it was made for"
            raise ValueError(msg)
    return np.isin(rows, list(part))


def count_training_rows(model_source: str, rows: NDArray[np.int64], ids: NDArray[Any]) -> int:
    """How many of the rows trained the model: those that the split in its folder has for training, with the same id.

    0 without such a split, and where it was made for other data: a row of it has another id here.
    """
    path = Path(model_source) / SPLIT_FILE
    if not (model_source and path.is_file()):
        return 0
    try:
        trained = read_part(path, TRAINING_PART)
    except ValueError:  # no split, or nothing trained: nobody asked for it
        return 0
    here = _names(rows, ids)
    same = [here[row] == id_text(name) for row, name in trained.items() if row in here]
    return len(same) if all(same) else 0


def _names(rows: NDArray[np.int64], ids: NDArray[Any]) -> dict[int, str]:
    """Row of the input -> id, as split files hold it."""
    return dict(zip(rows.tolist(), (id_text(str(name)) for name in ids.tolist()), strict=True))
