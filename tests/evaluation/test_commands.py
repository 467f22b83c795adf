"""`cgfast evaluate`, `embed` and `explain` as a user types them."""

from __future__ import annotations

import importlib
import json
import re

import numpy as np
import pytest

for package in ("torch", "torchmetrics", "rich"):
    pytest.importorskip(package, reason="the commands need it")
typer = pytest.importorskip("typer", reason="the commands need it")
testing = pytest.importorskip("typer.testing")
pq = pytest.importorskip("pyarrow.parquet", reason="the commands need it")

LABEL = "energy_per_atom_eV"
APP = typer.Typer()
for command in ("evaluate", "embed", "explain"):
    APP.command()(getattr(importlib.import_module(f"cgfast.cli.{command}"), command))


def run(*arguments):
    return testing.CliRunner().invoke(APP, [str(argument) for argument in arguments])


@pytest.fixture
def folder(make_model, tmp_path):
    return make_model(readout="site").save(tmp_path / "model")


@pytest.fixture
def path(write, crystals):
    return write(crystals, **{LABEL: [None if k == 3 else float(k) for k in range(60)]})


def test_evaluate(folder, path, tmp_path):
    pytest.importorskip("plotly", reason="the report is made by plotly")
    files = [tmp_path / name for name in ("m.json", "r.html", "p.csv")]
    done = run("evaluate", folder, path, "--out", files[0], "--report", files[1], "--predictions", files[2])
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{LABEL}: 59 rows, labels {LABEL}"
    mae = json.loads(files[0].read_text())["targets"][LABEL]["metrics"]["mae"]
    assert re.search(rf"mae +{mae:.4f} +eV/atom", done.stdout)
    assert re.search(rf"c3 +3 +label +no value of {LABEL}", done.stdout)
    assert [f"wrote {path}" in lines for path in files] == [True] * 3
    assert lines[-1] == "60 rows in: 59 evaluated, 1 failures"
    assert len(files[2].read_text().splitlines()) == 60
    assert (tmp_path / "p-failures.csv").read_text().splitlines()[1].startswith("c3,3,label")


def test_evaluate_a_part(folder, path):
    (folder / "split.csv").write_text(
        "id,row,part\n" + "".join(f"c{k},{k},{'test' if k < 10 else 'train'}\n" for k in range(60))
    )
    done = run("evaluate", folder, path, "--part", "test", "--target", f"{LABEL}={LABEL}")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "60 rows in: 9 evaluated, 1 failures, 50 outside of the part 'test'"


def test_strict(folder, path, tmp_path):
    done = run("evaluate", folder, path, "--strict", "--out", tmp_path / "m.csv")
    assert (done.exit_code, done.stderr) == (1, "error: strict: 1 rows failed\n")
    assert (tmp_path / "m.csv").exists()
    assert run("embed", folder, path, "--strict", "-o", tmp_path / "f.parquet").exit_code == 0


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("--out", "m.txt", r"error: --out: .*m.txt ends in '.txt', expected .json or .csv"),
        ("--report", "r.pdf", r"error: --report: .*r.pdf ends in '.pdf', expected .html or .htm"),
        ("--predictions", "no/p.parquet", r"error: --predictions: .* cannot be written: no such folder"),
        ("--predictions", "data.parquet", r"error: --predictions: .*data.parquet is among the inputs"),
        ("--out", "model.json", r"error: --out: .* is a folder"),
    ],
)
def test_outputs_are_checked_before_the_work(folder, path, tmp_path, option, name, sentence):
    (tmp_path / "model.json").mkdir()
    before = path.read_bytes()
    done = run("evaluate", folder, path, option, tmp_path / name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.match(sentence, done.stderr)
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == before


def test_two_options_for_one_file(folder, path, tmp_path):
    done = run("evaluate", folder, path, "--out", tmp_path / "x.csv", "--predictions", tmp_path / "x.csv")
    assert done.exit_code == 2
    assert "x.csv is already the file of --out" in done.stderr


def test_embed(folder, path, tmp_path):
    done = run("embed", folder, path, "--atoms", "-o", tmp_path / "f.parquet", "--threads", 1)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [f"wrote {tmp_path / 'f.parquet'}", "60 rows in: 60 crystals, 0 failures"]
    table = pq.read_table(tmp_path / "f.parquet")
    assert (table.num_rows, table.column_names[-1]) == (60, "atom_features")


def test_explain(folder, path, tmp_path, crystals):
    pytest.importorskip("plotly", reason="the heat map is made by plotly")
    done = run("explain", folder, path, "-o", tmp_path / "c.parquet", "--heatmap", tmp_path / "h.html")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "60 rows in: 60 crystals, 0 failures"
    values = pq.read_table(tmp_path / "c.parquet")["contribution"].to_numpy()
    assert (len(values), bool(np.isfinite(values).all())) == (crystals.n_atoms, True)
    assert (tmp_path / "h.html").stat().st_size > 1_000_000


def test_sentences(folder, path, tmp_path, make_model):
    head = make_model().save(tmp_path / "head")
    for arguments, sentence in [
        (("explain", folder, path), "error: --out and --heatmap: got neither, expected at least one file to write"),
        (("explain", head, path, "-o", tmp_path / "c.csv"), "error: model: tiny has readout='head'"),
        (("evaluate", folder, path, "--column", "id"), "error: --column: got 'id', expected OURS=THEIRS"),
        (("evaluate", folder, path, "--target", "nothing"), "error: .*nothing"),
        (("evaluate", "no-such-model", path), "error: model: there is no model 'no-such-model'"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2
        assert re.match(sentence, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
