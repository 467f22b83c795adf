"""The neighbour search: many small crystals at a time, and one large cell; beside NVIDIA's where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gpu import crystals, timing

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gpu.settings import Sizes
    from benchmarks.gpu.timing import Keep

CUTOFF, K = 8.0, 12
RADIUS = 5.0  # Å, of the lists of all pairs: about 33 neighbours
CHECKED_ATOMS = 4000
NAMES = ("1-20", "20", "64", "256")


def measure(sizes: Sizes, keep: Keep) -> dict[str, Any]:
    """One row for each batch or cell."""
    found: dict[str, Any] = {"cutoff_A": CUTOFF, "k": K, "radius_A": RADIUS, "rows": []}
    for name in NAMES:
        check(crystals.batch(crystals.counts_of(name, min(sizes.atoms, CHECKED_ATOMS)), seed=7), sizes.device)
    check(crystals.batch(np.array([min(sizes.big_cells[-1], 3000)]), seed=7), sizes.device)
    found["checked"] = "every list equals the CPU's edge for edge"
    for name in NAMES:
        found["rows"].append({"crystals_of": name, **row(crystals.batch(crystals.counts_of(name, sizes.atoms)), sizes)})
        keep(found)
    for n_atoms in sizes.big_cells:
        found["rows"].append({"one_cell_of": n_atoms, **row(crystals.batch(np.array([n_atoms])), sizes)})
        keep(found)
    return found


def arguments(batch: crystals.Batch, device: str) -> dict[str, Any]:
    """What cgfast.neighbor_list() takes, on the device."""
    import torch

    n = len(batch.graph_ptr) - 1
    return {
        "positions": torch.from_numpy(batch.positions).to(device),
        "cell": torch.from_numpy(batch.cell).to(device),
        "pbc": torch.ones((n, 3), dtype=torch.bool, device=device),
        "graph_ptr": torch.from_numpy(batch.graph_ptr).to(device),
    }


def check(batch: crystals.Batch, device: str) -> None:
    """Raises AssertionError where the device and the CPU differ in a bit."""
    import torch

    import cgfast

    nearest: dict[str, Any] = {"cutoff": CUTOFF, "max_neighbors": K}
    for options in (nearest, {**nearest, "ties": "shell"}, {"cutoff": RADIUS}):
        found = cgfast.neighbor_list(**arguments(batch, device), **options)
        right = cgfast.neighbor_list(**arguments(batch, "cpu"), **options)
        for name in ("edge_index", "shifts", "distances", "row_ptr", "edge_weight"):
            ours, theirs = getattr(found, name), getattr(right, name)
            if theirs is not None and not torch.equal(ours.cpu(), theirs):
                message = f"{name} of {options} differs from the CPU's for {len(batch.graph_ptr) - 1} crystals"
                raise AssertionError(message)


def row(batch: crystals.Batch, sizes: Sizes) -> dict[str, Any]:
    """Atoms per second for k nearest, pairs per second for all within a radius, and NVIDIA's where it is there."""
    import cgfast

    given, n_atoms = arguments(batch, sizes.device), len(batch.positions)
    out: dict[str, Any] = {"atoms": n_atoms, "crystals": len(batch.graph_ptr) - 1}
    seconds = timing.attempt(
        out,
        "nearest_seconds",
        lambda: timing.median_seconds(lambda: cgfast.neighbor_list(**given, cutoff=CUTOFF, max_neighbors=K), sizes),
    )
    if seconds:
        out["nearest_atoms_per_second"] = n_atoms / seconds
    pairs = cgfast.neighbor_list(**given, cutoff=RADIUS).n_edges
    seconds = timing.attempt(
        out,
        "radius_seconds",
        lambda: timing.median_seconds(lambda: cgfast.neighbor_list(**given, cutoff=RADIUS), sizes),
    )
    if seconds:
        out |= {"pairs": pairs, "pairs_per_second": pairs / seconds}
    theirs = timing.attempt(out, "nvalchemi_radius_seconds", lambda: nvalchemi_seconds(given, pairs, sizes))
    if theirs and seconds:
        out["nvalchemi_over_ours"] = theirs / seconds
    return out


def nvalchemi_seconds(given: dict[str, Any], pairs: int, sizes: Sizes) -> float:
    """Their list of all pairs, after a look at whether it has as many as ours."""
    call = nvalchemi(given)
    theirs = call()
    if theirs != pairs:
        message = f"it found {theirs} pairs, and we {pairs}"
        raise AssertionError(message)
    return timing.median_seconds(call, sizes)


def nvalchemi(given: dict[str, Any]) -> Callable[[], int]:
    """nvalchemi-toolkit-ops' neighbour list in coordinates, as its documentation calls it; returns the number of pairs."""
    import torch

    try:
        from nvalchemiops.torch.neighbors import neighbor_list
    except ImportError:
        from nvalchemiops.neighborlist import neighbor_list  # before 0.3
    pointers = given["graph_ptr"].to(torch.int32)
    n_crystals = len(pointers) - 1
    options: dict[str, Any] = {"cell": given["cell"].contiguous(), "pbc": given["pbc"], "return_neighbor_list": True}
    if n_crystals > 1:
        sizes = (pointers[1:] - pointers[:-1]).long()
        crystal = torch.repeat_interleave(torch.arange(n_crystals, device=pointers.device), sizes)
        options |= {"batch_idx": crystal.to(torch.int32), "batch_ptr": pointers}
    return lambda: int(neighbor_list(given["positions"], RADIUS, **options)[0].shape[1])
