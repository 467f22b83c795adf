"""Puts the model of a training run among the models that the package carries:

python tools/ship_model.py RUN NAME --data "Materials Project, 31,345 crystals of the CGCNN 2018 list"
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cgfast
from cgfast.models.own import WEIGHTS_FOLDER
from cgfast.training.run_domain import run_domain

LICENCE = "weights: MIT; data: CC BY 4.0, Materials Project (A. Jain et al., APL Materials 1, 011002 (2013))"
LARGEST = 1_000_000  # bytes: the wheel stays small


def main() -> None:
    """Load the run's model, say where it comes from, write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name", help="as in cgfast/NAME")
    parser.add_argument("--data", required=True, help="the training data, in words")
    parser.add_argument("--licence", default=LICENCE)
    parser.add_argument("--domain-from", type=Path, metavar="DATA", help="the run's data, if it is not where it was")
    arguments = parser.parse_args()
    model = cgfast.load_model(arguments.run)
    if not model.card.get("complete"):
        parser.error(f"{arguments.run} holds a run that is not complete")
    n_train = model.card["crystals"]["train"]
    card = {"training_data": f"{arguments.data}, {n_train:,} to train on", "licence": arguments.licence}
    card |= {name: value for name, value in model.card.items() if name not in card}
    domain = model.domain
    if arguments.domain_from is not None or domain is None or domain.distances is None:  # trained before models had one
        domain = run_domain(arguments.run, data=arguments.domain_from)
    folder = WEIGHTS_FOLDER / arguments.name
    replace(model, name=f"cgfast/{arguments.name}", domain=domain).save(folder, card=card)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST:
        parser.error(f"{folder} has {size:,} bytes, expected at most {LARGEST:,}")
    print(f"wrote {folder} ({size:,} bytes)")


if __name__ == "__main__":
    main()
