"""`cgfast train`: what it prints, where, and with which exit code."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")
pytest.importorskip("typer")

from typer import testing

import cgfast
from cgfast import cli
from tests.training.samples import TINY, crystals, some_values, write_folder, write_table

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = [word for name, value in TINY.items() if name != "step" for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command sets a variable for the process that it usually is, and writes where it is called."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.delenv("CGFAST_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(40)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, gap=y - 2.2, part=["train"] * 30 + ["val"] * 10)


def run(*arguments: object, code: int = 0) -> Any:
    result = testing.CliRunner().invoke(cli.app, ["train", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def sentence(*arguments: object) -> str:
    result = run(*arguments, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_success(table: Path, tmp_path: Path) -> None:
    result = run(table, "--target", "y", "--out", tmp_path / "m", *OPTIONS)
    first, *_, last = result.stderr.splitlines()
    counts = [int(n) for n in re.fullmatch(r"(\d+) train, (\d+) val, (\d+) test; 0 of 40 rows cannot be used", first).groups()]
    assert sum(counts) == 40
    line = r"epoch 4/4, loss \d+\.\d{4}, val MAE \d+\.\d{4} eV, [\d,]+ crystals/s, .* left"
    assert re.fullmatch(line, last)
    *_, wrote, account = result.stdout.splitlines()
    assert wrote.startswith(f"wrote the model to {tmp_path / 'm'} (")
    assert account == "40 rows in: 40 used, 0 not (failures.csv)"
    card = cgfast.load_model(tmp_path / "m").card
    mae = re.search(r"^ *y +mae +(\S+) +eV", result.stdout, re.MULTILINE)[1]
    assert float(mae) == pytest.approx(card["metrics"]["y"]["mae"], abs=5e-5)
    assert {name: card["options"][name] for name in TINY if name != "step"} == {k: v for k, v in TINY.items() if k != "step"}


def test_options_reach_the_run(table: Path, tmp_path: Path) -> None:
    run(
        table,
        "-t",
        "wide=gap>0",
        "-t",
        "log10(y)",
        "-o",
        tmp_path / "m",
        *OPTIONS,
        *(
            "--max-neighbors",
            0,
            "--ties",
            "shell",
            "--split",
            "random",
            "--fractions",
            "0.5,0.25,0.25",
            "--seed",
            3,
            "--lr",
            0.002,
        ),
        *("--optimizer", "sgd", "--weight-decay", 0, "--schedule", "cosine", "--loss", "huber", "--average", 0, "--clip", 1),
        *("--patience", 9, "--precision", "64", "--pooling", "sum", "--readout", "head", "--activation", "softplus"),
        *("--conv", "CrystalGraphConv", "--class-weights", "balanced", "--batch-atoms", 50, "--seeds", 2),
    )
    plan = json.loads((tmp_path / "m" / "run.json").read_text())["plan"]
    assert plan["labels"] == ["gap>0", "log10(y)"]
    expected = {
        "max_neighbors": None,
        "ties": "shell",
        "split": "random",
        "fractions": [0.5, 0.25, 0.25],
        "seed": 3,
        "learning_rate": 0.002,
        "optimizer": "sgd",
        "weight_decay": 0,
        "schedule": "cosine",
        "loss": "huber",
        "average": 0,
        "clip": 1,
        "patience": 9,
        "precision": "64",
        "pooling": "sum",
        "readout": "head",
        "activation": "softplus",
        "conv": "CrystalGraphConv",
        "class_weights": "balanced",
        "batch_atoms": 50,
        "seeds": 2,
    }
    assert {name: plan["options"][name] for name in expected} == expected
    model = cgfast.load_model(tmp_path / "m")
    assert [column.name for column in model.columns] == ["wide_probability", "wide_probability_std", "log10_y", "log10_y_std"]


def test_more_options_reach_the_run(table: Path, tmp_path: Path) -> None:
    recipe = ["--schedule", "multistep", "--milestones", "2,3", "--gamma", 0.5, "--optimizer", "sgd", "--momentum", 0.8]
    others = ["--loss", "huber", "--huber-delta", 0.3, "--step", 0.4, "--missing", "pad-2018"]
    run(table, "-t", "y", "-o", tmp_path / "m", *OPTIONS, *recipe, *others)
    options = json.loads((tmp_path / "m" / "run.json").read_text())["plan"]["options"]
    expected = {"milestones": [2, 3], "gamma": 0.5, "momentum": 0.8, "huber_delta": 0.3, "step": 0.4, "missing": "pad-2018"}
    assert {name: options[name] for name in expected} == expected
    with (tmp_path / "m" / "metrics.csv").open(newline="") as file:
        rates = [float(line["learning_rate"]) for line in csv.DictReader(file)]
    assert rates == [0.01, 0.01, 0.005, 0.0025]
    model = cgfast.load_model(tmp_path / "m")
    assert (model.spec.missing, model.network.basis.step) == ("pad-2018", 0.4)


def test_splits(table: Path, tmp_path: Path) -> None:
    run(table, "-t", "y", "-o", tmp_path / "column", "--split-column", "part", *OPTIONS)
    assert json.loads((tmp_path / "column" / "run.json").read_text())["plan"]["options"]["split"] == "column"
    run(table, "-t", "y", "-o", tmp_path / "fold", "--fold", "2/3", *OPTIONS)
    assert json.loads((tmp_path / "fold" / "run.json").read_text())["plan"]["options"]["fold"] == "2/3"
    result = run(table, "-t", "y", "-o", tmp_path / "random", "--split", "random", *OPTIONS)
    assert re.search(r"^note: \d+ of \d+ test crystals share their formula", result.stderr, re.MULTILINE)


def test_units_logarithms_and_the_folder_of_its_own(table: Path, tmp_path: Path) -> None:
    run(table, "-t", "gap", "-t", "y", "--task", "regression", "--unit", "meV", *OPTIONS)
    assert [target.unit for target in cgfast.load_model(tmp_path / "gap-model").targets] == ["meV", "eV"]
    run(table, "-t", "log10(y)", "--log10", *OPTIONS)
    assert (tmp_path / "log10-y-model" / "model.json").is_file()


def test_a_2018_folder(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "d", "".join(f"m{k},{k}\n" for k in range(12)) + "gone,1\n", [f"m{k}" for k in range(12)])
    result = run(source, "-t", "target", "-o", tmp_path / "m", "--split", "random", *OPTIONS)
    assert result.stdout.splitlines()[-1] == "13 rows in: 12 used, 1 not (failures.csv)"
    assert "unit of its training data" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], r"DATA is missing: cgfast train DATA --target COLUMN --out DIR"),
        (["--target", "y"], r"DATA is missing"),
        (["{table}"], r"--target COLUMN is missing"),
        (["nowhere.parquet", "-t", "y"], r"nowhere\.parquet"),
        (["{table}", "-t", "energy"], r"no column energy.*y"),
        (["{table}", "-t", "y", "--out", "no/where"], r"out: the folder .*no does not exist"),
        (["{table}", "-t", "y", "--fractions", "a,b,c"], r"--fractions: got 'a,b,c'"),
        (["{table}", "-t", "y", "--milestones", "0.5"], r"--milestones: got '0.5', expected epochs like"),
        (["{table}", "-t", "y", "--schedule", "multistep"], r"milestones: got \(\), expected the epochs"),
        (["{table}", "-t", "y", "--fractions", "0.5,0.5"], r"fractions: got \(0\.5, 0\.5\)"),
        (["{table}", "-t", "y", "--split", "random", "--fold", "1/5"], r"--split, --split-column and --fold: got several"),
        (["{table}", "-t", "y", "--epochs", "0"], r"epochs: got 0"),
        (["{table}", "-t", "y", "--lr", "nan"], r"learning_rate: got nan"),
        (["{table}", "-t", "y", "--atom-init", "none.json"], r"atom_init: there is no file"),
        (["{table}", "-t", "y", "--split-column", "part2"], r"no column part2"),
        (["{table}", "-t", "y<100"], r"one class only"),
        (["--resume", "nowhere"], r"resume: nowhere holds no run"),
        (["--resume", "{table}"], r"resume: got the file .*data\.parquet, expected the folder of a run"),
    ],
)
def test_bad_input(table: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert re.search(said, sentence(*(word.format(table=table) for word in arguments)))
    assert sorted(tmp_path.rglob("*")) == before


def test_divergence(table: Path) -> None:
    recipe = ["--optimizer", "sgd", "--loss", "mse", "--lr", "1e6", "--schedule", "constant", "--average", 0]
    assert "try a lower learning_rate than 1e+06, or clip=1" in sentence_after_progress(table, "-t", "y", *OPTIONS, *recipe)


def sentence_after_progress(*arguments: object) -> str:
    result = run(*arguments, code=2)
    assert result.stdout == ""
    return result.stderr.splitlines()[-1]


class TestResume:
    @pytest.fixture
    def cut(self, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A run that was interrupted after its second epoch."""

        def stop(_: object, report: Any) -> None:
            if report.epoch == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("cgfast.cli.training_progress.TrainingConsole.epoch", stop)
            result = run(table, "-t", "y", "-o", tmp_path / "m", *OPTIONS, code=130)
        told = f"interrupted; every whole epoch is saved; go on with: cgfast train --resume {tmp_path / 'm'}"
        assert result.stderr.splitlines()[-1] == told
        return tmp_path / "m"

    def test_goes_on(self, cut: Path, table: Path, tmp_path: Path) -> None:
        result = run("--resume", cut)
        assert "epoch 4/4" in result.stderr
        run(table, "-t", "y", "-o", tmp_path / "whole", *OPTIONS)
        assert (cut / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()

    def test_of_a_run_that_is_done(self, cut: Path) -> None:
        first = run("--resume", cut)
        again = run("--resume", cut)
        assert "epoch" not in again.stderr
        table = lambda text: text.split("wrote the model")[0]  # noqa: E731
        assert table(first.stdout) == table(again.stdout)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["data.parquet"], "DATA"),
            (["-t", "y"], "--target"),
            (["-o", "elsewhere"], "--out"),
            (["--epochs", "9"], "--epochs"),
            (["--lr", "0.1", "--seed", "0"], "--learning-rate, --seed"),
            (["--task", "regression"], "--task"),
            (["--split", "random"], "--split"),
            (["--threads", "1"], "--threads"),
        ],
    )
    def test_takes_no_other_options(self, cut: Path, arguments: list[str], named: str) -> None:
        before = {path: path.stat().st_mtime_ns for path in cut.rglob("*")}
        said = sentence("--resume", cut, *arguments)
        assert said == f"--resume: got {named} too, expected nothing else: the run in the folder knows its own options"
        assert {path: path.stat().st_mtime_ns for path in cut.rglob("*")} == before

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--preset", "paper"],
            ["--unit", "K"],
            ["--log10"],
            ["--atom-init", "a.json"],
            ["--format", "cif"],
            ["--on-disorder", "error"],
        ],
    )
    def test_takes_no_other_options_at_all(self, cut: Path, arguments: list[str]) -> None:
        assert "expected nothing else" in sentence("--resume", cut, *arguments)

    def test_a_damaged_checkpoint(self, cut: Path) -> None:
        path = cut / "checkpoints" / "last.ckpt"
        path.write_bytes(path.read_bytes()[:1000])
        assert re.search(r"resume: .*last\.ckpt cannot be read", sentence_after_progress("--resume", cut))


def test_help() -> None:
    text = run("--help").stdout
    for word in ("--target", "--resume", "--preset", "--fractions", "Exit codes"):
        assert word in text
