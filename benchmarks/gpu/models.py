"""The 2018 network of four convolutions on crystals that are in memory: with graphs given, and from positions on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.gpu import crystals, timing

if TYPE_CHECKING:
    import torch

    from benchmarks.gpu.settings import Sizes
    from benchmarks.gpu.timing import Keep
    from cgfast.graph import CrystalGraph

ATOMS = 20
TOLERANCE = 1e-4
MOST_GRAPHS = 4  # kept at a time to run again and again: more than the caches hold


def network(n_conv: int = 4, head: int = 32) -> torch.nn.Module:
    """As the published models are: 92 element features, F 64, K 41."""
    import torch

    import cgfast.nn

    torch.manual_seed(0)
    table = (torch.rand((100, 92)) < 0.1).float()
    return cgfast.nn.CGCNN(table, 41, 64, n_conv, head, 1, basis=cgfast.nn.GaussianBasis()).eval()


def graph(n_crystals: int, device: str, seed: int = 0) -> CrystalGraph:
    """12 nearest inside 8 Å of crystals with 20 atoms."""
    import numpy as np

    import cgfast

    batch = crystals.batch(np.full(n_crystals, ATOMS), seed)
    return cgfast.build_graphs(batch.crystals(), cgfast.GraphSpec(missing="pad-2018"), device=device)


def measure(sizes: Sizes, keep: Keep) -> dict[str, Any]:
    """Crystals per second for each number of crystals at a time; and all of them, graphs included."""
    found: dict[str, Any] = {"network": "CGCNN 2018, 4 convolutions, F 64, K 41", "atoms": ATOMS, "rows": []}
    found["relative_error"] = check(sizes.device)
    for n_crystals in sizes.batches:
        row: dict[str, Any] = {"crystals": n_crystals}
        found["rows"].append(row)
        timing.attempt(row, "given_graphs_per_second", lambda n=n_crystals: given_graphs(n, sizes))
        timing.attempt(row, "with_graphs_per_second", lambda n=n_crystals: with_graphs(n, sizes))
        keep(found)
    timing.attempt(found, "all_in_memory", lambda: all_in_memory(sizes, max(sizes.batches)))
    return found


def check(device: str) -> float:
    """The relative error of a few predictions against float64 on the CPU."""
    import torch

    few = graph(8, "cpu", seed=5)
    with torch.inference_mode():
        right = network().double()(few)
        error = crystals.relative_error(network().to(device)(few.to(device)), right)
    if not error < TOLERANCE:
        message = f"the network is off by {error:.2g}"
        raise AssertionError(message)
    return error


def given_graphs(n_crystals: int, sizes: Sizes) -> float:
    """Crystals per second, graphs made before."""
    import torch

    model = network().to(sizes.device)
    graphs = [graph(n_crystals, sizes.device, seed) for seed in range(MOST_GRAPHS)]
    turn = iter(range(10**9))

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return model(graphs[next(turn) % MOST_GRAPHS])

    return n_crystals / timing.busy_seconds(call, sizes)


class Resident:
    """Crystals on the device, cut into batches of equally many."""

    def __init__(self, n_crystals: int, at_once: int, device: str) -> None:
        import numpy as np
        import torch

        self.device, self.at_once = device, min(at_once, n_crystals)
        self.n_batches = max(n_crystals // self.at_once, 1)
        made = crystals.batch(np.full(self.at_once * min(self.n_batches, MOST_GRAPHS), ATOMS))
        copies = -(-self.n_batches // MOST_GRAPHS)  # the same few again: only their place in memory differs

        def moved(array: np.ndarray) -> torch.Tensor:
            there = torch.from_numpy(array).to(device)
            return there.repeat(copies, *[1] * (there.dim() - 1))

        self.positions, self.cell, self.numbers = moved(made.positions), moved(made.cell), moved(made.numbers)
        self.pbc = torch.ones((self.at_once, 3), dtype=torch.bool, device=device)
        self.graph_ptr = torch.arange(self.at_once + 1, device=device) * ATOMS

    def graph(self, number: int) -> CrystalGraph:
        """Batch `number` as a graph, made now."""
        import cgfast
        from cgfast.graph import CrystalGraph

        first, n_atoms = number % self.n_batches * self.at_once, self.at_once * ATOMS
        atoms = slice(first * ATOMS, first * ATOMS + n_atoms)
        options: dict[str, Any] = {"max_neighbors": 12, "missing": "pad-2018", "graph_ptr": self.graph_ptr}
        cell = self.cell[first : first + self.at_once]
        made = cgfast.neighbor_list(self.positions[atoms], cell, self.pbc, 8.0, **options)
        return CrystalGraph(made.edge_index, made.row_ptr, self.graph_ptr, self.numbers[atoms], made.distances, few=made.few)


def with_graphs(n_crystals: int, sizes: Sizes) -> float:
    """Crystals per second, from positions in the device's memory."""
    import torch

    resident, model = Resident(n_crystals * MOST_GRAPHS, n_crystals, sizes.device), network().to(sizes.device)
    turn = iter(range(10**9))

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return model(resident.graph(next(turn)))

    return n_crystals / timing.busy_seconds(call, sizes)


def all_in_memory(sizes: Sizes, at_once: int) -> dict[str, Any]:
    """Seconds for every crystal in memory, once, graphs included."""
    import torch

    resident, model = Resident(sizes.crystals, at_once, sizes.device), network().to(sizes.device)

    def call() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [model(resident.graph(number)) for number in range(resident.n_batches)]

    seconds = timing.median_seconds(call, sizes)
    n_crystals = resident.n_batches * resident.at_once
    return {"crystals": n_crystals, "at_once": resident.at_once, "seconds": seconds, "per_second": n_crystals / seconds}
