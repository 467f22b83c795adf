"""Every kernel once on little data, for compute-sanitizer:   python -m benchmarks.gpu.small [--device cpu]

Run it with PYTORCH_NO_CUDA_MEMORY_CACHING=1, so that every tensor ends where its memory does.
"""

from __future__ import annotations

import argparse

import numpy as np


def main() -> None:
    """Searches, messages with gradients, moments, pooling, sorting."""
    import torch

    import cgfast
    from benchmarks.gpu import crystals, layers, neighbors, training
    from cgfast import functional

    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    for counts in (np.array([1, 2, 7, 20]), np.array([150])):
        given = neighbors.arguments(crystals.batch(counts), device)
        for options in ({"max_neighbors": 12}, {"max_neighbors": 12, "ties": "shell"}, {"max_neighbors": 600}, {}):
            cgfast.neighbor_list(**given, cutoff=6.0, **options)
        cgfast.neighbor_list(**given, cutoff=6.0, max_neighbors=5, missing="pad-2018", sort="source")
    graph = crystals.graph_of(1200, device)
    for dtype in (torch.float32, torch.float64):
        inputs, message = layers.problem(graph, device, dtype)
        layers.backward_step(inputs, message)()
        functional.pool(inputs[0], graph.graph_ptr, "mean")
    shuffled = graph.edge_index[:, torch.randperm(graph.n_edges, generator=torch.Generator().manual_seed(0)).to(device)]
    functional.sort_edges(shuffled, graph.n_atoms)
    training.check(device)
    if device == "cuda":
        torch.cuda.synchronize()
    print("every kernel ran")


if __name__ == "__main__":
    main()
