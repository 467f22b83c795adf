"""The report: one file that loads nothing, and shows exactly the numbers of the evaluation."""

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.evaluation import evaluate
from cgfast.evaluation.metrics import precision_recall_curve, roc_curve

for package in ("torch", "torchmetrics", "pyarrow", "plotly"):
    pytest.importorskip(package, reason="a report needs it")

LABEL = "energy_per_atom_eV"


class Page(HTMLParser):
    """What a browser would find: tags that open and close, scripts, visible text, and everything that names a file."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.references: list[tuple[str, str]] = []
        self.policy = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        names = ("src", "href", "action", "data", "srcset")
        self.references += [(tag, value) for name, value in attributes if name in names]
        if ("http-equiv", "Content-Security-Policy") in attributes:
            self.policy = dict(attributes)["content"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        else:
            self.text += data


def numbers(value) -> np.ndarray:
    """An array as plotly embeds it: a list, or the bytes of a typed array."""
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"])).astype(float)
    return np.array(value, float)


def figures(page: Page) -> dict[str, list[dict]]:
    """Name of each figure -> its traces, as the scripts give them to plotly."""
    found = {}
    for script in page.scripts[1:]:
        name, rest = re.search(r'Plotly\.newPlot\(\s*"([^"]+)",\s*(.*)', script, re.DOTALL).groups()
        found[name] = json.JSONDecoder().raw_decode(rest)[0]
    return found


def read(path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_it_loads_nothing(model, path, tmp_path):
    page = read(evaluate(model, path).report(tmp_path / "r.html"))
    assert page.references == []
    assert page.policy.startswith("default-src 'none';")
    assert "http" not in page.policy
    from plotly.offline import get_plotlyjs

    assert page.scripts[0] == get_plotlyjs()
    assert not [script for script in page.scripts[1:] if "http" in script or len(script) > 100_000]
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".parquet"] == ["r.html"]


def test_numbers_are_those_of_the_evaluation(model, path, tmp_path):
    found = evaluate(model, path)
    page = read(found.report(tmp_path / "r.html"))
    traces = figures(page)
    truth, predicted = (found.predictions[name].to_numpy() for name in (LABEL + "_true", LABEL))
    parity = traces["target-0-0"][0]
    np.testing.assert_array_equal(numbers(parity["x"]), truth)
    np.testing.assert_array_equal(numbers(parity["y"]), predicted)
    assert parity["text"][:2] == [f"c{k} {found.predictions['formula'][k]}" for k in range(2)]
    residuals = traces["target-0-1"][0]
    counts, edges = np.histogram(predicted - truth, bins=60)
    np.testing.assert_array_equal(numbers(residuals["y"]), counts)
    np.testing.assert_allclose(numbers(residuals["x"]), (edges[1:] + edges[:-1]) / 2)
    table = traces["target-0-elements"][0]["z"]
    shown = sorted(value for row in table for value in row if value is not None)
    assert shown == sorted(found.targets[LABEL].by_element["mae"].to_pylist())
    metrics, worst = page.tables[:2]
    assert metrics[1] == ["mae", f"{found.metrics[LABEL]['mae']:.4f}", "eV/atom"]
    assert worst[0] == ["id", "row", "formula", "truth", "prediction", "error"]
    assert [row[0] for row in worst[1:]] == found.targets[LABEL].worst["id"].to_pylist()
    assert len(worst) == 11
    assert "60 rows in: 60 evaluated, 0 failures" in page.text


def test_same_file_for_the_same_evaluation(model, path, tmp_path):
    texts = [evaluate(model, path).report(tmp_path / f"{k}.html").read_bytes() for k in range(2)]
    assert texts[0] == texts[1]


def test_classes_and_ensembles(write, crystals, make_model, energy, metal, tmp_path):
    model = make_model(energy, metal, members=3)
    energies = model.predict(crystals)[LABEL] + np.random.default_rng(1).normal(0, 0.1, 60)
    gaps = np.random.default_rng(2).integers(0, 2, 60).astype(float)
    found = evaluate(model, write(crystals, **{LABEL: energies, "gap_eV": gaps}))
    traces = figures(read(found.report(tmp_path / "r.html")))
    table = {name: found.predictions[name].to_numpy() for name in found.predictions.column_names[4:]}
    np.testing.assert_array_equal(numbers(traces["target-0-0"][0]["marker"]["color"]), table[LABEL + "_std"])
    expected = numbers(traces["target-0-2"][0]["x"])
    within = np.abs(table[LABEL] - table[LABEL + "_true"]) <= table[LABEL + "_std"]
    assert (expected <= 0.6826894921370859).sum() == within.sum()  # the share inside one standard deviation
    truth, probability = table["metal_probability_true"], table["metal_probability"]
    for name, curve in (("target-1-0", roc_curve), ("target-1-1", precision_recall_curve)):
        x, y = curve(truth, probability)
        np.testing.assert_array_equal(numbers(traces[name][0]["x"]), x)
        np.testing.assert_array_equal(numbers(traces[name][0]["y"]), y)
    spread = [numbers(trace["y"]).sum() for trace in traces["target-1-2"]]
    assert spread == [(truth == 0).sum(), (truth == 1).sum()]


def test_one_class_only(write, crystals, make_model, metal, tmp_path):
    found = evaluate(make_model(metal), write(crystals, gap_eV=np.ones(60)))
    page = read(found.report(tmp_path / "r.html"))
    assert ["roc_auc", "-", "no row is of class metal"] in page.tables[0]
    assert "ROC" not in "".join(page.scripts[1:])


def test_learning_curve(model, path, tmp_path):
    folder = tmp_path / "run"
    model.save(folder)
    epochs = [(k, 1.0 / k, 0.5 / k if k % 2 else None, 1e-3, 9.0 * k) for k in range(1, 6)]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "train_loss", "val_mae", "learning_rate", "time_s"))
        writer.writerows(epochs)
    found = evaluate(folder, path)
    assert found.histories[0]["val_mae"] == [0.5, None, 0.5 / 3, None, 0.1]
    traces = figures(read(found.report(tmp_path / "r.html")))["learning-curve"]
    assert {trace["name"]: trace["y"] for trace in traces} == {
        "train_loss": [1.0 / k for k in range(1, 6)],
        "val_mae": [0.5, None, 0.5 / 3, None, 0.1],
    }
    assert all(trace["x"] == [1.0, 2.0, 3.0, 4.0, 5.0] for trace in traces)


def test_learning_curves_of_all_members(make_model, path, tmp_path):
    folder = make_model(members=2).save(tmp_path / "run")
    for member, epochs in enumerate((3, 2)):
        lines = ["epoch,val_mae,time_s", *(f"{k},{0.1 * (member + 1) * k:.1f},{k}" for k in range(1, epochs + 1))]
        (folder / "members" / str(member)).mkdir(parents=True)
        (folder / "members" / str(member) / "metrics.csv").write_text("\n".join(lines))
    (folder / "metrics.csv").write_text("epoch,val_mae\n1,9\n")  # the first member's, already shown
    found = evaluate(folder, path)
    assert [history["val_mae"] for history in found.histories] == [[0.1, 0.2, 0.3], [0.2, 0.4]]
    traces = figures(read(found.report(tmp_path / "r.html")))["learning-curve"]
    assert [(t["name"], t["x"], t["y"]) for t in traces] == [
        ("val_mae", [1.0, 2.0, 3.0], [0.1, 0.2, 0.3]),
        ("val_mae", [1.0, 2.0], [0.2, 0.4]),
    ]
    assert [t["showlegend"] for t in traces] == [True, False]
    assert len({t["line"]["color"] for t in traces}) == 1


def test_no_learning_curve_and_a_broken_one(model, path, tmp_path):
    assert evaluate(model, path).histories == ()
    folder = tmp_path / "run"
    model.save(folder, card={"history": {"epoch": [1, 2], "val_mae": [0.2, 0.1]}})
    assert evaluate(folder, path).histories == ({"epoch": [1.0, 2.0], "val_mae": [0.2, 0.1]},)
    (folder / "metrics.csv").write_bytes(b"\xff\xfe no table")
    assert evaluate(folder, path).histories == ()


def test_hostile_names(write, crystals, make_model, tmp_path):
    """Names from a data file are text wherever they are shown, never markup."""
    evil = "</script><script>alert(1)</script><b>"
    named = Crystals(
        crystals.positions,
        crystals.cell,
        crystals.pbc,
        crystals.atomic_numbers,
        crystals.graph_ptr,
        np.array([f"{evil}{k}" for k in range(60)]),
    )
    labels = [None if k == 1 else float(k) for k in range(60)]
    page = read(evaluate(make_model(), write(named, **{LABEL: labels})).report(tmp_path / "r.html"))
    assert not any(script.startswith("alert") for script in page.scripts)
    assert page.tables[-1][1][0] == f"{evil}1"  # the failure, as text
    text = figures(page)["target-0-0"][0]["text"]
    assert text[0].startswith("&lt;/script&gt;")  # plotly has a markup of its own
