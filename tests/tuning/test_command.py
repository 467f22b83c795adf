"""`cgfast tune` as a user meets it, and studies that are killed from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

for module in ("lightning", "torchmetrics", "optuna", "plotly", "pyarrow", "rich"):
    pytest.importorskip(module, reason="tuning needs the extra train")
typer = pytest.importorskip("typer", reason="the command line needs typer")
testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
command = pytest.importorskip("cgfast.cli.tune")
tuning = pytest.importorskip("cgfast.tuning")

COLUMN = "mean_number_eV"
TINY = "--epochs 2 --set atom_fea_len=8 --set h_fea_len=8 --set batch_size=16 --set n-conv=1 --set fractions=0.6,0.2,0.2"
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0


def run(*arguments: Any) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command.tune)
    return testing.CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_study_and_more_of_it(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    space = tmp_path / "space.json"
    space.write_text(json.dumps({"cutoff": [4, 5], "learning_rate": "0.1..0.2"}), encoding="utf-8")
    searched = ("--space", space, "--search", "learning-rate=0.001..0.05:log")
    result = run(table, "-t", COLUMN, "-o", out, "--trials", 2, *searched, *TINY.split())
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert re.match(r"\d+ train, \d+ val, \d+ test; 0 of 60 rows cannot be used", lines[0])
    assert lines[1].startswith("trial 0 complete (1 of 2 done); val score ")
    assert "learning_rate=0.01" in lines[1]  # the file's range gave way, and the preset comes first
    assert "the best so far" in lines[1]
    assert lines[-1].startswith("trial 1 complete (2 of 2 done)")
    assert "2 of 2 trials (2 complete)" in result.stdout
    assert re.search(rf"{COLUMN} +mae +[\d.]+ +eV", result.stdout)
    assert f"wrote the best model to {out / 'best'}" in result.stdout
    more = run("--resume", out, "--trials", 3)
    assert more.exit_code == 0, more.output
    assert "3 of 3 trials (3 complete)" in more.stdout
    assert not [line for line in more.stderr.splitlines() if line.startswith("trial 0 ")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "DATA is missing"),
        (["TABLE"], "--target COLUMN is missing"),
        (["TABLE", "-t", COLUMN, "--search", "n_conv"], "--search: got 'n_conv', expected NAME=VALUE"),
        (["TABLE", "-t", COLUMN, "--search", "n_convs=2..3"], "space: got 'n_convs', expected one of"),
        (["TABLE", "-t", COLUMN, "--set", "n_convs=2"], "options: got 'n_convs', expected one of"),
        (["TABLE", "-t", COLUMN, "--space", "none.json"], "none.json cannot be read as JSON"),
        (["TABLE", "-t", "volume"], COLUMN),
        (["none.parquet", "-t", COLUMN], "none.parquet"),
        (["--resume", "nowhere"], "nowhere holds no study"),
        (["TABLE", "--resume", "nowhere", "--epochs", "2"], "--resume: got DATA, --epochs too"),
        (["TABLE", "-t", COLUMN, "--seed", "1", "--set", "seed=1"], "--set: got seed and --seed too, expected one of them"),
        (["TABLE", "-t", COLUMN, "--epochs", "1", "--set", "epochs=2"], "--set: got epochs and --epochs too"),
        (["TABLE", "-t", COLUMN, "--column", "id"], "--column: got 'id', expected OURS=THEIRS"),
    ],
)
def test_bad_input(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(table if argument == "TABLE" else argument for argument in arguments))
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_set_says_what_an_option_of_its_own_may_say(table: Path, tmp_path: Path) -> None:
    sets = ("seed=1", "task=regression", "threads=1", "max_neighbors=none")
    said = [word for one in sets for word in ("--set", one)]
    result = run(table, "-t", COLUMN, "-o", tmp_path / "s", "--trials", 1, "--search", "cutoff=4|5", *TINY.split(), *said)
    assert result.exit_code == 0, result.output
    options = tuning.resume(tmp_path / "s").options
    assert (options.seed, options.task, options.threads, options.max_neighbors) == (1, "regression", 1, None)


def test_other_names_of_columns(table: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    renamed = pq.read_table(table)
    names = ["material_id" if name == "id" else name for name in renamed.column_names]
    pq.write_table(renamed.rename_columns(names), tmp_path / "renamed.parquet")
    said = ("--trials", 1, "--search", "cutoff=4|5", "--column", "id=material_id")
    result = run(tmp_path / "renamed.parquet", "-t", COLUMN, "-o", tmp_path / "s", *said, *TINY.split())
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "s" / "best" / "split.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("c0,0,")


_STUDY = f"""
import sys, time
from cgfast.tuning import tune

done = []

def wait(report):
    if len(done) == 1 and report.epoch == 2:
        print("now", flush=True)
        time.sleep(600)

tune(sys.argv[1], {COLUMN!r}, out=sys.argv[2], trials=3, space={{"learning_rate": "0.001..0.05:log"}}, epochs=3, n_conv=1,
     atom_fea_len=8, h_fea_len=8, batch_size=16, fractions=(0.6, 0.2, 0.2), on_trial=done.append,
     on_epoch=wait if len(sys.argv) > 3 else None)
"""


def _python(*arguments: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_study_ends_like_one_that_never_stopped(table: Path, tmp_path: Path) -> None:
    with _python("-c", _STUDY, table, tmp_path / "killed", "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.kill()
    with _python("-c", _STUDY, table, tmp_path / "whole") as process:
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
    whole, killed = tuning.resume(tmp_path / "whole"), tuning.resume(tmp_path / "killed")
    ends = [[(row.state, row.score, row.options, row.errors) for row in study.trials] for study in (whole, killed)]
    assert ends[0] == ends[1]
    assert len(ends[0]) == 3
    assert killed.model.sha256 == whole.model.sha256


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    app = "import typer; from cgfast.cli.tune import tune; a = typer.Typer(); a.command()(tune); a()"
    long = ("--epochs", 100_000, "--trials", 2, "--search", "n_conv=1..2", "--set", "atom_fea_len=8")
    with _python("-c", app, table, "-t", COLUMN, "-o", out, *long) as process:
        until = time.monotonic() + PATIENCE_S
        while not (out / "trials" / "000" / "checkpoints" / "last.ckpt").is_file():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (f"interrupted; every trial and epoch is saved; go on with: cgfast tune --resume {out}")
    epochs: list[int] = []

    class Enough(Exception):  # noqa: N818
        pass

    def stop(report: Any) -> None:
        epochs.append(report.epoch)
        raise Enough

    with pytest.raises(Enough):
        tuning.resume(out, on_epoch=stop)
    assert epochs[0] > 1
