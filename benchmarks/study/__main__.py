"""The study:   python -m benchmarks.study [--seconds 60] [--seeds 2]

Bulk moduli of 2,732 crystals (log10 GPa). Every variant trains for the same time with one cycle of the learning rate; then one
recipe runs in cgfast and in plain PyTorch, epoch by epoch. Writes `benchmarks/results/<machine>-study.json`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import numpy as np
import torch

from benchmarks.study import loop, task, variants
from cgfast.graph_store import GraphStore
from cgfast.io.labelled import read_labelled
from cgfast.training.formulas import formula_groups
from cgfast.training.splits import TRAIN, split_by_groups

TWIN_EPOCHS = 40


def load() -> tuple[object, np.ndarray, np.ndarray, float]:
    found = read_labelled(task.DATA, [task.LABEL])
    parts = split_by_groups(formula_groups(found.crystals), (0.8, 0.1, 0.1), 0)
    values = found.values[:, 0]
    mean, std = values[parts == TRAIN].mean(), values[parts == TRAIN].std()
    return found.crystals, (values - mean) / std, parts, float(std)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # for plain PyTorch: it would be slower without
    crystals, labels, parts, std = load()
    stores: dict[object, loop.Data] = {}
    rows = []
    for seed in range(arguments.seeds):
        for variant in variants.variants(seed):
            if variant.spec not in stores:
                store = GraphStore.build(crystals, variant.spec, dtype=np.float64)
                stores[variant.spec] = loop.Data(store, labels, std, parts, task.UNIT)
            data = stores[variant.spec]
            each = loop.seconds_per_epoch(variant.network, data, threads)
            epochs = max(round(arguments.seconds / each), 2)
            curve = loop.train(variant.network, data, epochs=epochs, seed=seed, threads=threads)
            row = {"question": variant.question, "name": variant.name, "seed": seed, "epochs": epochs}
            rows.append(row | {"seconds": curve.seconds[-1], "val": min(curve.val), "test": curve.test})
            print(json.dumps(rows[-1]), flush=True)
    twins = []
    for seed in range(arguments.seeds):
        for name, make in (("cgfast", variants.base), ("plain PyTorch", variants.plain_twin)):
            network = make(seed=seed)
            torch.set_num_threads(1 if name == "cgfast" else threads)  # each as it is fastest
            curve = loop.train(network, stores[variants.TWELVE], epochs=TWIN_EPOCHS, seed=seed, threads=threads)
            twins.append({"name": name, "seed": seed, **asdict(curve)})
            print(json.dumps({"name": name, "seed": seed, "seconds": curve.seconds[-1], "test": curve.test}), flush=True)
    task.save("study", threads=threads, rows=rows, twins=twins)


if __name__ == "__main__":
    main()
