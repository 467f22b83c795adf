"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.models import OutputColumn, Target
from cgfast.neighbors import GraphSpec
from cgfast.screening import Progress

pytest.importorskip("rich", reason="the command line needs rich")
testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
pa = pytest.importorskip("pyarrow", reason="screening needs pyarrow")
pa_csv = pytest.importorskip("pyarrow.csv")
pq = pytest.importorskip("pyarrow.parquet")
cli = pytest.importorskip("cgfast.cli")
progress = pytest.importorskip("cgfast.cli.progress")
screen = pytest.importorskip("cgfast.cli.screen")

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class StandInModel:
    """Predicts the mean atomic number; raises for krypton."""

    task = "regression"
    max_atomic_number = 100

    def __init__(self, name: str) -> None:
        self.name = name
        column = "mean_z" if name.startswith("mean") else name
        self.targets = (Target("mean atomic number", "eV", column),)
        self.columns = (OutputColumn(column, "eV"),)
        self.sha256 = f"{name:0<64}"
        self.spec = GraphSpec()

    def predict_columns(self, graph: Any) -> np.ndarray:
        if 36 in graph.atomic_numbers:
            message = "no krypton"
            raise TypeError(message)
        parts = np.split(graph.atomic_numbers, graph.graph_ptr[1:-1])
        return np.array([[part.mean()] for part in parts])


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models by any of three names, so that only the command is tested."""

    def load_model(name: str, *, atom_init: object = None) -> StandInModel:
        del atom_init
        if name not in {"mean", "mean-2", "other", "cgfast/formation-energy"}:
            message = f"unknown model {name!r}; did you mean 'mean'?"
            raise ValueError(message)
        return StandInModel(name)

    monkeypatch.setattr("cgfast.models.load_model", load_model)
    monkeypatch.delenv("CGFAST_DEBUG", raising=False)


def write(path: Path, elements: Sequence[str], **columns: Any) -> Path:
    """One cubic two-atom crystal per element."""
    n = len(elements)
    table = {
        "id": [f"c{row}" for row in range(n)],
        "lattice_vectors": [(np.eye(3) * 5.0).tolist()] * n,
        "cartesian_site_positions": [[[0.0, 0.0, 0.0], [2.5, 2.5, 2.5]]] * n,
        "species_at_sites": [[element, "O"] for element in elements],
        **columns,
    }
    pq.write_table(pa.table(table), path)
    return path


def run(*arguments: object, code: int = 0) -> Any:
    result = testing.CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def sentence(*arguments: object) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def last_line(result: Any) -> str:
    return result.stdout.splitlines()[-1]


def test_table_and_account_without_out(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na", "Lr", "Kr", "Mg"])
    result = run("screen", path, "--model", "mean")
    assert last_line(result) == "4 rows in: 2 predictions, 2 failures"
    assert re.search(r"^ *c0 +9\.5000 +ok", result.stdout, re.MULTILINE)
    assert re.search(r"^ *id +mean_z", result.stdout, re.MULTILINE)
    assert re.search(r"^ +eV", result.stdout, re.MULTILINE)
    assert "Lr (Z=103) is unknown to mean" in result.stdout
    assert "TypeError: no krypton" in result.stdout
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.parquet"]


def test_long_tables_and_failures_are_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na"] * 50 + ["Kr"] * 25)
    result = run("screen", path, "--model", "mean")
    assert f"... and {50 - screen.HEAD_ROWS} more rows" in result.stdout
    assert "... and 15 more failures" in result.stdout
    assert last_line(result) == "75 rows in: 50 predictions, 25 failures"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_out(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "in.parquet", ["Na", "Kr", "Mg"], energy=[-1.0, -2.0, -3.0])
    out = tmp_path / f"out.{suffix}"
    result = run("screen", path, "--model", "mean", "--out", out, "--keep", "energy", "--threads", 1)
    assert last_line(result) == f"3 rows in: 2 predictions, 1 failures (see {tmp_path / 'out-failures.csv'})"
    table = pa_csv.read_csv(out) if suffix == "csv" else pq.read_table(out)
    expected = {"id": ["c0", "c2"], "mean_z": [9.5, 10.0], "flags": ["ok", "ok"], "energy": [-1.0, -3.0]}
    assert table.to_pydict() == expected


def test_the_model_that_needs_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na"])
    run("screen", path, "-o", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == ["id,cgfast/formation-energy,flags", "c0,9.5,ok"]
    assert "cgfast/formation-energy" in run("screen", "--help").stdout


def test_colliding_models(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na"])
    out = tmp_path / "out.csv"
    run("screen", path, "-m", "mean", "-m", "mean-2", "-m", "other", "-o", out)
    assert out.read_text().splitlines()[0] == "id,mean.mean_z,mean-2.mean_z,other,flags"


def test_top(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na", "Li", "Mg", "H"], energy=[0.0, 7.0, 9.0, 8.0])

    def shown(*options: object) -> list[str]:
        return re.findall(r"^ *(c\d)", run("screen", path, "-m", "mean", *options).stdout, re.MULTILINE)

    assert shown("--top", 2) == ["c3", "c1"]
    assert shown("--top", 2, "--descending") == ["c2", "c0"]
    assert shown("--top", 3, "--by", "energy", "--keep", "energy", "--descending") == ["c2", "c3", "c1"]


def test_strict(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na", "Kr"])
    out = tmp_path / "out.csv"
    result = run("screen", path, "--model", "mean", "--out", out, "--strict", code=1)
    assert result.stderr == "error: strict: 1 of 2 rows failed\n"
    assert last_line(result).startswith("2 rows in: 1 predictions, 1 failures")
    assert len(out.read_text().splitlines()) == 2


def test_column_names(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na"], material_id=["mp-1"])
    out = tmp_path / "out.csv"
    run("screen", path, "-m", "mean", "-o", out, "--column", "id=material_id")
    assert out.read_text().splitlines()[1].startswith("mp-1,")


class TestBadInputGetsASentence:
    def test_no_such_file(self, tmp_path: Path) -> None:
        assert "nothing-here.parquet" in sentence("screen", tmp_path / "nothing-here.parquet", "-m", "mean")
        assert "nothing-here.parquet" in sentence("info", tmp_path / "nothing-here.parquet")

    def test_empty_folder(self, tmp_path: Path) -> None:
        assert str(tmp_path) in sentence("screen", tmp_path, "-m", "mean")

    def test_wrong_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "in.parquet"
        pq.write_table(pa.table({"wrong": [1], "columns": [2]}), path)
        text = sentence("screen", path, "-m", "mean")
        assert "wrong" in text
        assert "columns" in text

    def test_not_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "in.parquet"
        path.write_text("not at all")
        assert "in.parquet" in sentence("screen", path, "-m", "mean")

    def test_unknown_model(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"])
        assert sentence("screen", path, "-m", "meen") == "unknown model 'meen'; did you mean 'mean'?"

    def test_unwritable_out(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"])
        missing = tmp_path / "missing"
        wanted = f"out: the folder {missing} does not exist"
        assert sentence("screen", path, "-m", "mean", "-o", missing / "out.csv") == wanted
        if os.geteuid() != 0:  # root may write anywhere
            tmp_path.chmod(0o500)
            assert "no permission" in sentence("screen", path, "-m", "mean", "-o", tmp_path / "out.csv")

    def test_unknown_suffix(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"])
        text = sentence("screen", path, "-m", "mean", "-o", tmp_path / "out.xlsx")
        assert text.endswith("ends in '.xlsx', expected one of .parquet, .csv")

    def test_unknown_by(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"])
        text = sentence("screen", path, "-m", "mean", "--top", 1, "--by", "energy")
        assert text == "by: no column 'energy'; the columns are id, mean_z, flags"

    def test_unknown_keep(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"], energy=[1.0])
        text = sentence("screen", path, "-m", "mean", "--keep", "enrgy")
        assert "enrgy" in text
        assert "energy" in text

    def test_malformed_column(self, tmp_path: Path) -> None:
        path = write(tmp_path / "in.parquet", ["Na"])
        assert "expected OURS=THEIRS" in sentence("screen", path, "-m", "mean", "--column", "id")

    def test_locked(self, tmp_path: Path) -> None:
        from cgfast.screening.output.lock import PartsDirectory

        path = write(tmp_path / "in.parquet", ["Na"])
        parts = PartsDirectory(tmp_path / "out.csv")
        try:
            text = sentence("screen", path, "-m", "mean", "-o", tmp_path / "out.csv")
        finally:
            parts.remove()
        assert text.endswith("out.csv is being written by another running process")


def test_unexpected_errors_get_a_sentence_and_a_way_to_the_traceback(monkeypatch, tmp_path: Path) -> None:
    def broken(*arguments: object, **options: object) -> None:
        del arguments, options
        message = "what?"
        raise RuntimeError(message)

    monkeypatch.setattr("cgfast.io.read", broken)
    result = run("screen", tmp_path, "-m", "mean", code=3)
    expected = "unexpected error: RuntimeError: what? (run again with CGFAST_DEBUG=1 for the traceback)\n"
    assert result.stderr == expected
    monkeypatch.setenv("CGFAST_DEBUG", "1")
    debugged = testing.CliRunner().invoke(cli.app, ["screen", str(tmp_path), "-m", "mean"])
    assert isinstance(debugged.exception, RuntimeError)


def test_ctrl_c_is_a_sentence(monkeypatch, tmp_path: Path) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        del arguments, options
        raise KeyboardInterrupt

    monkeypatch.setattr("cgfast.io.read", interrupted)
    assert run("screen", tmp_path, "-m", "mean", code=130).stderr == "interrupted; no output was written\n"


def test_models_lists_all_eight() -> None:
    output = run("models").stdout
    for name in ("formation-energy-per-atom", "band-gap", "semi-metal-classification", "poisson-ratio"):
        assert re.search(rf"^ *{name} ", output, re.MULTILINE)
    assert "eV/atom" in output


def test_models_of_several_properties_have_a_line_for_each(monkeypatch) -> None:
    several = SimpleNamespace(
        name="cgfast/electronic",
        property="band gap; Fermi energy",
        unit="eV; V",
        training_data="crystals",
        published_error="MAE 0.4 eV; not given",
        available=True,
        hint="",
    )
    monkeypatch.setattr("cgfast.models.available_models", lambda: [several])
    output = run("models").stdout
    assert re.search(r"cgfast/electronic +band gap +eV +crystals +MAE 0\.4 eV +yes", output)
    assert re.search(r"^ +Fermi energy +V +not given", output, re.MULTILINE)


def test_models_that_are_missing_say_how_to_get_them(monkeypatch) -> None:
    hint = 'pip install "cgfast[pretrained]"'
    missing = SimpleNamespace(
        name="m",
        property="p",
        unit="eV",
        training_data="t",
        published_error="0.1",
        available=False,
        hint=hint,
    )
    monkeypatch.setattr("cgfast.models.available_models", lambda: [missing, missing])
    assert run("models").stdout.count(hint) == 1


def test_info(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", ["Na"] * 1234, energy=[1.0] * 1234)
    output = run("info", path).stdout
    assert "1,234" in output
    assert "energy" in output


def test_progress_in_words() -> None:
    seen = Progress(rows=20_000, n_rows=100_000, failures=3, seconds=10.0)
    assert progress.progress_line(seen) == "20,000 of 100,000 rows, 2,000 crystals/s, 3 failures, 0:40 left"
    assert progress.time_left(Progress(1, 36_001, 0, 0.5)) == "5:00:00"
    assert progress.progress_line(Progress(5, None, 0, 0.0)) == "5 rows, 0 crystals/s, 0 failures"


def test_lines_of_progress_where_there_is_no_terminal(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cgfast.cli.progress.FIRST_LINE_SECONDS", 0.0)
    path = write(tmp_path / "in.parquet", ["Na"])
    assert run("screen", path, "-m", "mean").stderr.startswith("1 of 1 rows, ")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "cgfast.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_is_quick_and_fits() -> None:
    code = "import sys; from cgfast.cli import app; app(['-h'], standalone_mode=False); print([*sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for heavy in ("torch", "pyarrow", "gemmi", "pymatgen"):
        assert f"'{heavy}'" not in done.stdout
    assert len(command("--help").stdout.splitlines()) < 30


def test_a_real_process_prints_sentences(tmp_path: Path) -> None:
    done = command("screen", str(tmp_path / "no.cif"), "--model", "band-gap")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert command("--version").stdout.startswith("cgfast ")


def test_time_limit_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def stop(*_: object, **options: object) -> None:
        given.update(options)
        message = "seen enough"
        raise ValueError(message)

    monkeypatch.setattr("cgfast.screening.screen", stop)
    result = testing.CliRunner().invoke(cli.app, ["screen", "x.cif", "-m", "band-gap", "--time-limit", "2.5"])
    assert result.exit_code == 2
    assert given["time_limit"] == 2.5
