"""GraphStore: its batches are the graphs that build_graphs makes for the same crystals, wherever the arrays live."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import cgfast
from cgfast import Crystals, GraphSpec, build_graphs
from cgfast import graph_store as module
from cgfast.graph_store import GraphStore

torch = pytest.importorskip("torch")

WHOLE = ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "few")
SPECS = [
    GraphSpec(),
    GraphSpec(5.0, 8, ties="shell"),
    GraphSpec(3.0, None),
    GraphSpec(3.0, 12, missing="pad-2018"),
    GraphSpec(3.0, None, ties="shell"),
]


def random_crystals(sizes: list[int], seed: int = 0) -> Crystals:
    """Crystals of the given numbers of atoms, 15 Å³ an atom; every third is a molecule."""
    rng = np.random.default_rng(seed)
    cells = [np.cbrt(15.0 * n) * np.eye(3) + rng.normal(size=(3, 3)) * 0.2 for n in sizes]
    positions = [rng.random((n, 3)) @ cell for n, cell in zip(sizes, cells, strict=True)]
    return Crystals.from_arrays(
        np.concatenate(positions),
        np.array(cells),
        rng.integers(1, 119, sum(sizes)),
        pbc=np.repeat([[i % 3 != 2] for i in range(len(sizes))], 3, axis=1),
        graph_ptr=np.cumsum([0, *sizes]),
        ids=[f"made-{i}" for i in range(len(sizes))],
    )


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    return random_crystals([3, 1, 7, 1, 1, 30, 12, 2, 1, 90, 4])


@pytest.fixture
def in_many_parts(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ATOMS", 10)


def check_batch(store: GraphStore, crystals: Crystals, indices: list[int]) -> None:
    """Compare a batch with the graph built anew."""
    dtype = torch.from_numpy(np.empty(0, store.distances.dtype)).dtype
    graph = store.batch(indices)
    wanted = build_graphs(crystals[indices], store.spec).torch()
    for name in WHOLE:
        torch.testing.assert_close(getattr(graph, name), getattr(wanted, name), rtol=0, atol=0, msg=name)
    torch.testing.assert_close(graph.distances, wanted.distances.to(dtype), rtol=0, atol=0)
    if wanted.edge_weight is None:
        assert graph.edge_weight is None
    else:
        torch.testing.assert_close(graph.edge_weight, wanted.edge_weight.to(dtype), rtol=0, atol=0)
    assert graph.shifts is None
    assert graph.spec == store.spec


@pytest.mark.parametrize("dtype", ["float32", np.float64])
@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.usefixtures("in_many_parts")
def test_a_batch_is_what_build_graphs_makes(crystals, spec, dtype):
    store = GraphStore.build(crystals, spec, dtype=dtype)
    assert store.distances.dtype == dtype
    n = len(crystals)
    for indices in ([*range(n)], [9, 2, 0], [4], [1, 1, 5, 1, 5], [n - 1, 0], [*range(n)] * 7):
        check_batch(store, crystals, indices)


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_real_crystals(data, ties):
    crystals = next(iter(cgfast.read(data / "mp_cgcnn_36k.parquet")))[:900]
    store = GraphStore.build(crystals, GraphSpec(ties=ties), dtype=np.float64)
    assert len(store) == 900
    rng = np.random.default_rng(1)
    for n in (1, 128, 900):
        check_batch(store, crystals, rng.integers(0, 900, n).tolist())


def test_an_empty_batch_and_an_empty_store(crystals):
    nothing = Crystals.from_arrays(np.empty((0, 3)), np.empty((0, 3, 3)), [], graph_ptr=[0])
    for store in (GraphStore.build(crystals), GraphStore.build(nothing), GraphStore.build(nothing, memory_limit=-1)):
        graph = store.batch([])
        assert (graph.n_crystals, graph.n_atoms, graph.n_edges) == (0, 0, 0)
        assert (graph.row_ptr.tolist(), graph.graph_ptr.tolist()) == ([0], [0])


def test_atoms_without_edges():
    crystals = random_crystals([1, 1, 1])
    for limit in (0, np.inf):
        store = GraphStore.build(crystals, GraphSpec(0.5, 12), memory_limit=limit)
        assert store.sizes.edges.tolist() == [0, 0, 0]
        check_batch(store, crystals, [2, 0])


def test_sizes(crystals):
    store = GraphStore.build(crystals)
    alone = [build_graphs(crystal) for crystal in crystals]
    assert store.sizes.atoms.tolist() == [graph.n_atoms for graph in alone]
    assert store.sizes.edges.tolist() == [graph.n_edges for graph in alone]
    assert len(store) == len(crystals)
    n_edges, n_atoms = sum(graph.n_edges for graph in alone), crystals.n_atoms
    pointers = 8 * (2 * (len(crystals) + 1) + len(crystals))
    assert store.nbytes == 8 * n_edges + 5 * n_atoms + pointers
    assert GraphStore.build(crystals, GraphSpec(ties="shell"), dtype=np.float64).nbytes >= store.nbytes + 12 * n_edges


def test_indices_may_be_any_integers(crystals):
    store = GraphStore.build(crystals)
    wanted = store.batch([2, 0]).edge_index
    for indices in ((2, 0), np.array([2, 0], np.uint8), torch.tensor([2, 0]), np.array([2, 9, 0, 9])[::2]):
        assert torch.equal(store.batch(indices).edge_index, wanted)


def test_a_batch_owns_its_memory(crystals):
    store = GraphStore.build(crystals)
    first = store.batch([0, 1])
    for name in (*WHOLE, "distances"):
        getattr(first, name).fill_(77)
    check_batch(store, crystals, [0, 1])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.usefixtures("in_many_parts")
def test_threads_do_not_change_a_bit(threads):
    crystals = random_crystals([40] * 30)
    store = GraphStore.build(crystals, threads=threads)
    other = GraphStore.build(crystals, threads=3)
    for name in ("source", "degree", "distances", "atomic_numbers", "graph_ptr", "edge_ptr", "few"):
        np.testing.assert_array_equal(getattr(store, name), getattr(other, name))
    indices = np.random.default_rng(0).integers(0, 30, 400)  # 192,000 edges: enough for threads
    graph, wanted = store.batch(indices, threads=threads), other.batch(indices, threads=1)
    assert all(torch.equal(getattr(graph, name), getattr(wanted, name)) for name in (*WHOLE, "distances"))


# --- in files ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_many_parts")
def test_a_folder_holds_the_arrays(crystals, tmp_path):
    folder = tmp_path / "made" / "here"
    store = GraphStore.build(crystals, SPECS[1], folder=folder)
    grown = ("source", "degree", "distances", "edge_weight", "atomic_numbers", "few")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.npy" for name in (*grown, "edges"))
    for name in grown:
        assert isinstance(getattr(store, name), np.memmap)
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), getattr(store, name))
    check_batch(store, crystals, [5, 0, 9])
    few = crystals[[9, 3]]
    other = GraphStore.build(few, SPECS[1], folder=folder)  # the first one keeps its own files
    check_batch(other, few, [1, 0])
    check_batch(store, crystals, [5, 0, 9])


@pytest.mark.parametrize("spec", SPECS[:2], ids=str)
@pytest.mark.usefixtures("in_many_parts")
def test_too_much_for_the_memory_goes_to_files(crystals, tmp_path, monkeypatch, spec):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    in_memory = GraphStore.build(crystals, spec)
    assert not isinstance(in_memory.source, np.memmap)
    for limit in (0, in_memory.nbytes // 2):
        store = GraphStore.build(crystals, spec, memory_limit=limit)
        assert isinstance(store.source, np.memmap)
        assert isinstance(store.distances, np.memmap)
        check_batch(store, crystals, [9, 0, 10])
        assert not list(tmp_path.iterdir())
    assert not isinstance(GraphStore.build(crystals, spec, memory_limit=in_memory.nbytes).source, np.memmap)


@pytest.mark.usefixtures("in_many_parts")
def test_a_refused_crystal_leaves_no_file(crystals, tmp_path):
    with pytest.raises(ValueError, match="crystal 10 "):
        GraphStore.build(broken(crystals, 10), folder=tmp_path)
    assert not list(tmp_path.iterdir())


# --- what is refused -----------------------------------------------------------------------------------------------------


def broken(crystals: Crystals, index: int) -> Crystals:
    """Give one crystal a cell without volume."""
    cell = crystals.cell.copy()
    cell[index, 2] = cell[index, 1]
    return Crystals.from_arrays(
        crystals.positions, cell, crystals.atomic_numbers, pbc=True, graph_ptr=crystals.graph_ptr, ids=crystals.ids
    )


@pytest.mark.parametrize("index", [0, 6, 10])
@pytest.mark.usefixtures("in_many_parts")
def test_a_crystal_without_a_graph_is_named(crystals, index):
    with pytest.raises(ValueError, match=rf"crystal {index} \('made-{index}'\) without: the cell has no volume"):
        GraphStore.build(broken(crystals, index))


def test_a_crystal_that_only_the_search_refuses_is_named(crystals):
    cell, positions = crystals.cell.copy(), crystals.positions.copy()
    cell[7] = np.diag([0.011, 100.0, 100.0])
    positions[crystals.graph_ptr[7]] = [5e7, 0.0, 0.0]  # legal, yet too many cells away to count them in 32 bits
    far = Crystals.from_arrays(
        positions, cell, crystals.atomic_numbers, pbc=True, graph_ptr=crystals.graph_ptr, ids=crystals.ids
    )
    assert far.problems() == {}
    with pytest.raises(ValueError, match=r"crystal 7 \('made-7'\) without: positions must lie .* of crystal 7 "):
        GraphStore.build(far)


def test_indices_that_are_refused(crystals):
    store = GraphStore.build(crystals)
    for indices in ([-1], [0, 11], np.array([2**40]), [0.5], [[0, 1]], [True, False], ["0"], None):
        with pytest.raises(ValueError, match=r"^indices "):
            store.batch(indices)


def test_other_arguments_that_are_refused(crystals):
    for dtype in (np.float16, np.int32, "nonsense", torch.float32, None):
        with pytest.raises(ValueError, match=r"^dtype .*expected float32 or float64"):
            GraphStore.build(crystals, dtype=dtype)
    with pytest.raises(ValueError, match=r"^crystals must be cgfast.Crystals, got list"):
        GraphStore.build([1, 2])
    with pytest.raises(ValueError, match=r"^spec .*expected a GraphSpec"):
        GraphStore.build(crystals, 8.0)
    with pytest.raises(ValueError, match=r"^threads must be"):
        GraphStore.build(crystals, threads=0)


def test_arrays_that_were_tampered_with_are_refused(crystals):
    store = GraphStore.build(crystals)
    store.degree[3] += 1
    with pytest.raises(ValueError, match="degree must add up to the 12 edges of crystal 1"):
        store.batch([0, 1])


def test_building_needs_no_torch(tmp_path):
    code = (
        "import sys, numpy as np, cgfast, cgfast.graph_store as module\n"
        "one = cgfast.Crystals.from_arrays(np.zeros((1, 3)), 3 * np.eye(3), [26])\n"
        "print(module.GraphStore.build(one), 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert answer.stdout.startswith("GraphStore(1 crystals, 1 atoms, 12 edges, "), answer.stderr
    assert answer.stdout.endswith(" False\n")
