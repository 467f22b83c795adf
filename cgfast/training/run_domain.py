"""The domain of a model whose run was done before models carried one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cgfast.models import load_model
from cgfast.models.domain import Domain
from cgfast.training.members import graph_batches
from cgfast.training.run import prepare_plan
from cgfast.training.run_folder import RunFolder
from cgfast.training.source import read_again
from cgfast.training.splits import TRAIN

if TYPE_CHECKING:
    import os


def run_domain(folder: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None) -> Domain:
    """The domain of the model in the folder of a run, from the training part of its data: what train() would have written.

    data: where the data of the run is now, if not where it was. Raises ValueError if `folder` holds no run or no model, and if
    the data or their split are not those of the run. Same bits on every run.
    """
    place = RunFolder.existing(folder)
    plan = place.read_plan()
    model = load_model(place.path)
    source = plan.source if data is None or plan.source is None else replace(plan.source, path=str(Path(data).absolute()))
    labelled = read_again(source, plan.labels, plan.options, [target.classes for target in plan.targets])
    prepared = prepare_plan(plan, labelled, None if plan.start is None else plan.start.load())
    place.check_data(plan, prepared)
    store = prepared.build_store(model.spec, np.float64, plan.options.threads)
    trained = np.flatnonzero(prepared.parts == TRAIN)
    return Domain.fit(model.network, graph_batches(store, trained), prepared.elements)
