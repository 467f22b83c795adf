"""Fine-tuning against training from scratch on small sets:   python -m benchmarks.study.finetuning [--seeds 3]

log10 of the bulk modulus. Of 2,732 labelled crystals SIZES train, a tenth validates, and the rest tests. All ways have the
same split; the recipes are the defaults of `cgfast finetune`, and of `cgfast train` with the batches of the former and three
times its epochs. Writes `benchmarks/results/<machine>-finetuning.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cgfast
from benchmarks.study import task

MODEL = "cgfast/formation-energy"
SIZES = (100, 200, 400, 800)
LABELLED = 2732
SCRATCH: dict[str, Any] = {"epochs": 300, "batch_size": 32}
WAYS = ("from scratch", "fine-tuned", "fine-tuned, convolutions frozen")


def run(way: str, size: int, seed: int) -> dict[str, Any]:
    """Train once; what came of it on the test part."""
    fraction = size / LABELLED
    split: dict[str, Any] = {"fractions": (fraction, 0.1, 0.9 - fraction), "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        if way == "from scratch":
            result = cgfast.train(task.DATA, task.LABEL, out=out, **SCRATCH, **split)
        else:
            result = cgfast.finetune(MODEL, task.DATA, task.LABEL, out=out, freeze="frozen" in way, **split)
        crystals = result.model.card["crystals"]
        metrics = result.metrics
        seconds = [float(line.split(",")[-1]) for line in (out / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]]
    return {
        "way": way,
        "size": size,
        "seed": seed,
        "crystals": crystals,
        "metrics": metrics,
        "seconds": seconds[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for size in SIZES:
        for seed in range(arguments.seeds):
            for way in WAYS:
                rows.append(run(way, size, seed))
                print(json.dumps(rows[-1]), flush=True)
    task.save("finetuning", model=MODEL, scratch=SCRATCH, rows=rows)


if __name__ == "__main__":
    main()
