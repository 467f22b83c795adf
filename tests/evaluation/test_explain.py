"""`explain`: contributions add up to the prediction, in its unit, and the heat map shows their means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS
from cgfast.evaluation import explain

pytest.importorskip("torch")
pq = pytest.importorskip("pyarrow.parquet", reason="contributions are written as Arrow tables")


@pytest.fixture
def perovskites() -> Crystals:
    """Four cells with B at the origin, A in the middle, and one crystal that is no perovskite in between."""
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    pairs = [("Ti", "Ba"), ("Ti", "Sr"), ("Ba", "Ti"), ("Zr", "Ba")]
    cells = [
        Crystals.from_arrays(places * 3.9, np.eye(3) * 3.9, [*(SYMBOLS.index(z) for z in pair), 8, 8, 8], ids=["-".join(pair)])
        for pair in pairs
    ]
    salt = Crystals.from_arrays([[0, 0, 0], [2.8, 0, 0]], np.eye(3) * 5.6, [11, 17], ids=["salt"])
    return Crystals.concatenate([*cells[:2], salt, *cells[2:]])


def contributions_by_row(table) -> dict[int, np.ndarray]:
    rows, values = table["row"].to_numpy(), table["contribution"].to_numpy()
    return {row: values[rows == row] for row in dict.fromkeys(rows.tolist())}


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("readout", ["site", "atom"])
def test_they_add_up(write, crystals, make_model, tmp_path, readout, reduce, members):
    model = make_model(readout=readout, pooling=reduce, members=members, mean=[-1.25], std=[3.5])
    out = tmp_path / "c.parquet"
    found = explain(model, write(crystals), out=out)
    table = pq.read_table(out)
    assert table.column_names == ["id", "row", "site", "element", "contribution"]
    assert (found.n_rows, found.n_crystals, found.reduce, found.unit) == (60, 60, reduce, "eV/atom")
    predicted = model.predict(crystals).values
    parts = contributions_by_row(table)
    assert list(parts) == list(range(60))
    # float32 parts of the size of 1 that nearly cancel: the sum is as exact as they are
    np.testing.assert_allclose([getattr(np, reduce)(parts[row]) for row in parts], predicted, rtol=2e-6, atol=1e-5)
    assert table["element"].to_pylist() == [SYMBOLS[z] for z in crystals.atomic_numbers.tolist()]
    assert table["site"].to_pylist() == [site for n in np.diff(crystals.graph_ptr).tolist() for site in range(n)]
    assert table["id"].to_pylist() == np.repeat(crystals.ids, np.diff(crystals.graph_ptr)).tolist()
    described = json.loads(table.schema.metadata[b"cgfast"])
    assert (described["unit"], described["reduce"]) == ("eV/atom", reduce)


def test_means_by_element(crystals, make_model):
    found = explain(make_model(readout="site"), crystals, threads=2)
    element, value = np.array(found.table["element"].to_pylist()), found.table["contribution"].to_numpy()
    rows = found.elements.to_pylist()
    assert [row["element"] for row in rows] == [SYMBOLS[z] for z in sorted(set(crystals.atomic_numbers.tolist()))]
    for row in rows:
        assert row["sites"] == "all"
        assert row["n"] == (element == row["element"]).sum()
        assert row["mean"] == pytest.approx(value[element == row["element"]].mean())


def test_sites_of_perovskites(perovskites, make_model):
    found = explain(make_model(readout="site"), perovskites, sites=True)
    roles = found.table["role"].to_pylist()
    cell = ["B", "A", "X", "X", "X"]
    assert roles == [*cell, *cell, None, None, *cell, *cell]
    rows = found.table.to_pylist()
    means = {(row["sites"], row["element"]): (row["n"], row["mean"]) for row in found.elements.to_pylist()}
    for key in [("A", "Ba"), ("A", "Sr"), ("A", "Ti"), ("B", "Ti"), ("B", "Ba"), ("B", "Zr"), ("X", "O")]:
        values = [row["contribution"] for row in rows if (row["role"], row["element"]) == key]
        assert means[key] == (len(values), pytest.approx(np.mean(values)))
    assert ("A", "Zr") not in means
    assert means["all", "Ba"][0] == 3
    assert means["all", "Na"][0] == 1


def test_heat_map(perovskites, make_model, tmp_path):
    offline = pytest.importorskip("plotly.offline", reason="the heat map is made by plotly")
    from cgfast.evaluation.periodic_table import place

    found = explain(make_model(readout="site"), perovskites, sites=True)
    text = found.heatmap(tmp_path / "h.html").read_text(encoding="utf-8")
    start = text.index("[{", text.rindex("Plotly.newPlot("))
    traces = json.JSONDecoder().raw_decode(text[start:])[0]
    assert len(traces) == 2
    for name, trace in zip("AB", traces, strict=True):
        shown = {(r, c): v for r, line in enumerate(trace["z"]) for c, v in enumerate(line) if v is not None}
        rows = [row for row in found.elements.to_pylist() if row["sites"] == name]
        assert shown == {place(SYMBOLS.index(row["element"])): row["mean"] for row in rows}
        assert len(shown) == 3
    assert 'src="' not in text.replace(offline.get_plotlyjs(), "")
    assert "eV/atom" in text
    plain = explain(make_model(readout="site"), perovskites).heatmap(tmp_path / "h.html").read_text(encoding="utf-8")
    start = plain.index("[{", plain.rindex("Plotly.newPlot("))
    (trace,) = json.JSONDecoder().raw_decode(plain[start:])[0]
    assert sum(value is not None for line in trace["z"] for value in line) == 7


@pytest.mark.parametrize("readout", ["site", "atom"])
def test_target_of_several(crystals, make_model, energy, metal, readout):
    other = energy._replace(property="gap", unit="eV", column="gap_eV")
    model = make_model(metal, energy, other, readout=readout, mean=[0.0, 1.0, -2.0], std=[1.0, 2.0, 3.0])
    predicted = model.predict(crystals)
    for column in ("energy_per_atom_eV", "gap_eV"):
        parts = contributions_by_row(explain(model, crystals, target=column).table)
        means = [values.mean() for values in parts.values()]
        np.testing.assert_allclose(means, predicted[column], rtol=2e-6, atol=2e-6)
    with pytest.raises(ValueError, match=r"target: needed for tiny, .* metal_probability, energy_per_atom_eV, gap_eV"):
        explain(model, crystals)
    with pytest.raises(ValueError, match="target: metal_probability is a probability"):
        explain(model, crystals, target="metal_probability")
    with pytest.raises(ValueError, match="target: got 'gap', expected one of"):
        explain(model, crystals, target="gap")


def test_refusals(crystals, make_model, metal, tmp_path):
    with pytest.raises(ValueError, match=r"model: tiny has readout='head', expected .* trained with readout='atom' or 'site'"):
        explain(make_model(), crystals)
    with pytest.raises(ValueError, match="model: tiny pools by max, expected mean or sum"):
        explain(make_model(readout="atom", pooling="max"), crystals)
    with pytest.raises(ValueError, match="target: metal_probability is a probability"):
        explain(make_model(metal, readout="atom"), crystals)
    out = tmp_path / "c.csv"
    with pytest.raises(ValueError, match="sites: no crystal of the data is an ABX3 perovskite in a cell of five atoms"):
        explain(make_model(readout="site"), crystals[:3], sites=True, out=out)
    assert list(tmp_path.iterdir()) == []


def test_csv_and_failures(crystals, make_model, tmp_path):
    numbers = crystals.atomic_numbers.copy()
    numbers[crystals.graph_ptr[5]] = 105
    broken = Crystals(crystals.positions, crystals.cell, crystals.pbc, numbers, crystals.graph_ptr, crystals.ids)
    found = explain(make_model(readout="site"), broken, out=tmp_path / "c.csv")
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "id,row,site,element,contribution"
    assert len(lines) - 1 == crystals.n_atoms - np.diff(crystals.graph_ptr)[5]
    assert [(f.row, f.stage) for f in found.failures] == [(5, "predict")]
    assert (tmp_path / "c-failures.csv").read_text().splitlines()[1].startswith("c5,5,predict,")
