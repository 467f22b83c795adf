"""What a study finds and leaves behind, what it judges by, and what it prunes."""

from __future__ import annotations

import csv
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

for module in ("lightning", "torchmetrics", "optuna", "plotly", "pyarrow"):
    pytest.importorskip(module, reason="tuning needs the extra train")
labelled = pytest.importorskip("cgfast.io.labelled")
models = pytest.importorskip("cgfast.models")
tuning = pytest.importorskip("cgfast.tuning")

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.crystals import Crystals
    from cgfast.tuning import TuningResult

COLUMN = "mean_number_eV"


def ends(result: TuningResult) -> list[Any]:
    """What must be the same in two studies that are."""
    return [(row.state, row.score, row.best_epoch, row.options, row.errors) for row in result.trials]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_comes_back(study: tuple[TuningResult, Path]) -> None:
    result, out = study
    assert (result.n_done, result.n_trials, len(result.trials)) == (4, 4, 4)
    assert [row.number for row in result.trials] == [0, 1, 2, 3]
    best = min(result.trials, key=lambda row: row.score)
    assert (result.best_trial, result.best_score, result.best_options) == (best.number, best.score, best.options)
    for name, value in ({"epochs": 3, "atom_fea_len": 8, "seed": 0} | result.best_options).items():
        assert getattr(result.options, name) == value
    for row in result.trials:
        assert 0.001 <= row.options["learning_rate"] <= 0.05
        assert row.options["n_conv"] in (1, 2)
        assert row.options["cutoff"] in (4.0, 5.0)
    assert len({row.options["learning_rate"] for row in result.trials}) == 4
    assert result.trials[0].options["learning_rate"] == 0.01  # the preset's
    assert result.study == out / "study.sqlite3"


def test_the_score_is_the_validation_error(study: tuple[TuningResult, Path], table: Path) -> None:
    result, out = study
    data = labelled.read_labelled(table, [COLUMN])
    model = models.load_model(out / "best")
    part = {row["id"]: row["part"] for row in rows_of(out / "best" / "split.csv")}
    for name, error in (("val", result.best_score * model.std[0]), ("test", result.metrics[COLUMN]["mae"])):
        chosen = np.array([part[key] == name for key in data.crystals.ids.tolist()])
        predicted = model.predict(data.crystals[np.flatnonzero(chosen)]).values
        assert np.abs(predicted - data.values[chosen, 0]).mean() == pytest.approx(error, rel=1e-5)
    assert result.part == "test"
    row = result.trials[result.best_trial]
    assert row.errors[f"val_{COLUMN}_mae"] == pytest.approx(result.best_score * model.std[0], rel=1e-5)


def test_the_test_part_changes_nothing(
    study: tuple[TuningResult, Path], labels: list[float], write: Any, tmp_path: Path, small: Any
) -> None:
    result, out = study
    changed = list(labels)
    for row in rows_of(out / "best" / "split.csv"):
        if row["part"] == "test":
            changed[int(row["row"])] = 1000.0
    other = small(write(changed), tmp_path / "other", trials=4, keep=2)
    assert ends(other) == ends(result)
    assert other.metrics[COLUMN]["mae"] > 900


def test_what_is_left_on_disk(study: tuple[TuningResult, Path]) -> None:
    result, out = study
    assert {entry.name for entry in out.iterdir()} == {
        ".lock", "best", "report.html", "study.sqlite3", "trials", "trials.csv",
    }  # fmt: skip
    order = [row.number for row in sorted(result.trials, key=lambda row: row.score)]
    for place, number in enumerate(order):
        folder = out / "trials" / f"{number:03d}"
        if place < 2:
            assert models.load_model(folder).sha256
        else:
            assert [entry.name for entry in folder.iterdir()] == ["metrics.csv"]
        assert len(rows_of(folder / "metrics.csv")) == 3
    kept = models.load_model(out / "trials" / f"{result.best_trial:03d}")
    best = models.load_model(out / "best")
    assert (best.sha256, best.name) == (kept.sha256, "study")
    assert best.card["tuning"] == {"trial": result.best_trial, "searched": result.best_options}


def test_table_of_trials(study: tuple[TuningResult, Path]) -> None:
    result, out = study
    rows = rows_of(out / "trials.csv")
    assert [int(row["trial"]) for row in rows] == [0, 1, 2, 3]
    for row, trial in zip(rows, result.trials, strict=True):
        history = rows_of(out / "trials" / f"{trial.number:03d}" / "metrics.csv")
        best = min(history, key=lambda line: float(line["val_score"]))
        assert row["state"] == "complete"
        assert float(row["val_score"]) == float(best["val_score"]) == trial.score
        assert row["best_epoch"] == best["epoch"]
        assert float(row[f"val_{COLUMN}_mae"]) == float(best[f"val_{COLUMN}_mae"])
        assert float(row["learning_rate"]) == trial.options["learning_rate"]


class Tags(HTMLParser):
    """Addresses that a browser would load, and the ids of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert tag not in {"link", "iframe", "object", "embed"}


def test_report_needs_nothing_else(study: tuple[TuningResult, Path]) -> None:
    result, out = study
    text = (out / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.addresses == []
    assert len([name for name in tags.ids if name.startswith("figure-")]) == 2 + 3  # history, epochs, a slice for each option
    assert "default-src 'none'" in text
    assert "Plotly.newPlot" in text
    assert f"{result.metrics[COLUMN]['mae']:.4g}" in text
    assert "Defined from 5 complete trials" in text


def test_pruning(table: Path, tmp_path: Path, small: Any) -> None:
    # A learning rate that moves nothing falls behind for certain.
    out = tmp_path / "study"
    space = {"learning_rate": [0.01, 1e-7]}
    result = small(table, out, trials=9, space=space, cutoff=4.0, n_conv=1, epochs=4)
    history = {
        row.number: [float(line["val_score"]) for line in rows_of(out / "trials" / f"{row.number:03d}" / "metrics.csv")]
        for row in result.trials
    }
    pruned = [row for row in result.trials if row.state == "pruned"]
    assert pruned
    complete: list[int] = []
    for row in result.trials:  # the median rule, by hand
        own = history[row.number]
        behind = [
            min(own[: k + 1]) > np.median([history[number][k] for number in complete])
            for k in range(len(own))
            if len(complete) >= 5 and k < 3
        ]
        assert behind == [False] * (len(behind) - 1) + [row.state == "pruned"] * (len(behind) > 0)
        if row.state == "complete":
            complete.append(row.number)
            assert row.epochs == 4
        else:
            assert row.epochs == len(own) < 4
            assert row.options["learning_rate"] == 1e-7
            assert row.score == min(own)
            assert "median" in row.reason
    assert result.best_options == {"learning_rate": 0.01}
    kept = small(table, tmp_path / "all", trials=9, space=space, cutoff=4.0, n_conv=1, epochs=4, prune=False)
    assert {row.state for row in kept.trials} == {"complete"}


def test_divergence_is_not_the_end(table: Path, tmp_path: Path, small: Any) -> None:
    space = {"learning_rate": [1e30, 0.01]}
    result = small(table, tmp_path / "study", trials=6, space=space, optimizer="sgd", loss="mse")
    states = {row.options["learning_rate"]: row.state for row in result.trials}
    assert states == {1e30: "diverged", 0.01: "complete"}
    with pytest.raises(ValueError, match=r"none of 2 was complete; the last: .* not a number"):
        small(table, tmp_path / "none", trials=2, space={"learning_rate": [1e30]}, optimizer="sgd", loss="mse")
    assert [row["state"] for row in rows_of(tmp_path / "none" / "trials.csv")] == ["diverged", "diverged"]


def test_options_that_do_not_go_together_are_no_trial(table: Path, tmp_path: Path, small: Any) -> None:
    space = {"missing": "drop|pad-2018", "ties": "canonical|shell"}
    result = small(table, tmp_path / "study", trials=8, space=space, epochs=1, n_conv=1)
    for row in result.trials:
        wrong = row.options == {"missing": "pad-2018", "ties": "shell"}
        assert row.state == ("impossible" if wrong else "complete")
    assert "impossible" in {row.state for row in result.trials}


def test_graphs_are_built_once_for_each_way(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Any) -> None:
    from cgfast.graph_store import GraphStore

    built = []
    build = GraphStore.build.__func__  # type: ignore[attr-defined]

    def count(cls: Any, crystals: Crystals, spec: Any, **options: Any) -> Any:
        built.append(spec)
        return build(cls, crystals, spec, **options)

    monkeypatch.setattr(GraphStore, "build", classmethod(count))
    result = small(table, tmp_path / "study", trials=6, epochs=1)
    assert len(built) == len(set(built)) == len({row.options["cutoff"] for row in result.trials}) == 2


def test_few_graphs_stay_in_memory(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Any) -> None:
    monkeypatch.setattr("cgfast.tuning.graphs.STORE_BYTES", 1)
    seen: set[int] = set()
    shared: list[Any] = []
    small(
        table,
        tmp_path / "study",
        epochs=1,
        on_start=shared.append,
        on_trial=lambda report: seen.add(len(shared[0].stores)) if report else None,
    )
    assert seen == {1}


def test_classes_and_crystals_in_memory(table: Path, tmp_path: Path, small: Any) -> None:
    label = f"{COLUMN}<18"
    data = labelled.read_labelled(table, [label])
    space = {"max_neighbors": [8, None], "readout": "head|atom"}
    result = small(data, tmp_path / "study", target=label, space=space, trials=2)
    assert result.metrics[result.model.column]["accuracy"] is not None
    with pytest.raises(ValueError, match="crystals in memory"):
        tuning.resume(tmp_path / "study")
    assert tuning.resume(tmp_path / "study", data=data, trials=3).n_done == 3
