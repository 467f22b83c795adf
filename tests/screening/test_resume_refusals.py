"""What is not resumed, overwritten or thrown away: finished rows of another run, other input, other options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.io import read
from cgfast.screening import screen

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")

from tests.screening.interrupted import StopError, files, interrupt, stopping, table_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("graph_calls", "small_parts")


def test_finished_rows_are_neither_thrown_away_nor_used_unasked(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    interrupt(make_rows, make_model, random_rows, out)
    before = files(tmp_path / ".p.parquet.parts")
    with pytest.raises(ValueError, match=r"holds 16 finished rows .* resume=True \(--resume\), or .* restart=True"):
        screen(make_rows(random_rows), make_model(), out=out)
    assert files(tmp_path / ".p.parquet.parts") == before
    result = screen(make_rows(random_rows), make_model(), out=out, restart=True)
    assert (result.n_resumed, result.n_predictions) == (0, 200)
    assert files(tmp_path) == ["p-failures.csv", "p.parquet"]


def test_another_command_does_not_throw_finished_rows_away(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    from cgfast.screening.output.writer import OutputFile

    interrupt(make_rows, make_model, random_rows, tmp_path / "p.parquet")
    with pytest.raises(ValueError, match="16 finished rows of an interrupted run"):
        OutputFile(tmp_path / "p.parquet", {})
    assert screen(make_rows(random_rows), make_model(), out=tmp_path / "p.parquet", resume=True).n_resumed == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_atoms": 99}, "batch_atoms was 8192, is 99"),
        ({"ties": "shell"}, "the graph of fake differs: ties was canonical, is shell"),
        ({"limit": 50}, "limit was not given, is 50"),
        ({"models": ["other"]}, "the models were fake, are other"),
        ({"models": ["fake", "other"]}, "the models were fake, are fake, other"),
        ({"sha256": "f" * 64}, r"the model fake has other weights \(fake0000, now ffffffff\)"),
        ({"sha256": ""}, "the model fake was never saved"),
        ({"rows": 199}, "the number of rows of the input was 200, is 199"),
        ({"version": "9.9"}, "version was .*, is 9.9"),
    ],
)
def test_another_run_is_refused_by_name(
    make_rows, make_model, random_rows, tmp_path: Path, monkeypatch, change, message
) -> None:
    out = tmp_path / "p.parquet"
    with pytest.raises(StopError):
        screen(stopping(make_rows, random_rows, 28, n_rows=200), make_model(), out=out)
    before = files(tmp_path / ".p.parquet.parts")
    models = [make_model(name, column=name) if name != "fake" else make_model() for name in change.pop("models", ["fake"])]
    models[0].sha256 = change.pop("sha256", models[0].sha256)
    rows = make_rows(random_rows, n_rows=change.pop("rows", 200))
    monkeypatch.setattr("cgfast.__version__", change.pop("version", __import__("cgfast").__version__))
    with pytest.raises(ValueError, match=f"resume: cannot go on .*: {message}"):
        screen(rows, models, out=out, resume=True, **change)
    assert files(tmp_path / ".p.parquet.parts") == before


@pytest.mark.parametrize("change", ["contents", "time", "name", "another file", "an option of the reader"])
def test_another_input_is_refused(make_model, tmp_path: Path, monkeypatch, change) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    table_of(folder / "a.parquet", 2500)
    stop = make_model()
    original = stop.predict_columns

    def stopping_predict(graph):
        if len(stop.batches) > 1:
            raise ImportError  # the one thing that is no failure of a crystal
        return original(graph)

    monkeypatch.setattr(stop, "predict_columns", stopping_predict)
    with pytest.raises(ImportError):
        screen(folder, stop, out=tmp_path / "p.csv", batch_atoms=1024, threads=1)
    options = {}
    path = folder / "a.parquet"
    if change == "contents":
        found = path.stat()
        table_of(path, 2499)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "name":
        path.rename(folder / "b.parquet")
    elif change == "another file":
        table_of(folder / "b.parquet", 1)
    else:
        options["on_disorder"] = "majority"
    expected = {
        "contents": r"the input has changed \(a.parquet\)",
        "time": r"the input has changed \(a.parquet\)",
        "name": r"the input has changed \(a.parquet, now b.parquet\)",
        "another file": "the number of files of the input was 1, is 2",
        "an option of the reader": "on_disorder was skip, is majority",
    }
    with pytest.raises(ValueError, match=expected[change]):
        screen(folder, make_model(), out=tmp_path / "p.csv", batch_atoms=1024, resume=True, **options)
    assert (tmp_path / ".p.csv.parts").is_dir()


def test_a_folder_that_was_moved_is_the_same_input(tmp_path: Path) -> None:
    from cgfast.screening.output.fingerprint import fingerprint

    folder = tmp_path / "in"
    folder.mkdir()
    table_of(folder / "a.parquet", 20)
    table_of(folder / "b.parquet", 30)
    before = fingerprint(read(folder))
    folder.rename(tmp_path / "moved")
    assert fingerprint(read(tmp_path / "moved")) == before
    assert before["files"] == 2


def test_crystals_in_memory_are_known_by_their_contents(make_model, tmp_path: Path, monkeypatch) -> None:
    crystals = Crystals.from_arrays(
        np.zeros((20, 3)), np.tile(np.eye(3) * 3, (20, 1, 1)), np.full(20, 5), graph_ptr=np.arange(21)
    )
    moved = Crystals.from_arrays(
        np.full((20, 3), 1e-9), np.tile(np.eye(3) * 3, (20, 1, 1)), np.full(20, 5), graph_ptr=np.arange(21)
    )
    monkeypatch.setattr("cgfast.screening.computing.BATCH_ROWS", 8)

    def stop(path):
        raise StopError(path)

    with monkeypatch.context() as context:
        context.setattr("cgfast.screening.output.joining.sync", stop)
        with pytest.raises(StopError):
            screen(crystals, make_model(), out=tmp_path / "p.csv")
    with pytest.raises(ValueError, match="the input has changed"):
        screen(moved, make_model(), out=tmp_path / "p.csv", resume=True)
    model = make_model()
    assert screen(crystals, model, out=tmp_path / "p.csv", resume=True).n_resumed == 20
    assert model.batches == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "resume: needs out"),
        ({"restart": True}, "restart: needs out"),
        ({"shard": "1/2"}, "shard: needs out"),
        ({"resume": True, "restart": True, "out": "p.csv"}, "resume: cannot go together with restart"),
        ({"limit": 0}, "limit: got 0, expected at least 1"),
    ],
)
def test_options_that_do_not_fit(make_rows, make_model, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        screen(make_rows([[1]]), make_model(), **options)
