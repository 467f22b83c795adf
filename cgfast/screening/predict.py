"""Predictions of several models for a batch of crystals, with one graph for all models that read the same."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._devices import device_is_lost, is_out_of_memory, release_cached_memory
from cgfast.elements import symbol
from cgfast.graph import build_graphs, split_by_atoms
from cgfast.screening.failures import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from cgfast.batch_pool import BatchPool
    from cgfast.crystals import Crystals
    from cgfast.models import PropertyModel
    from cgfast.neighbors import GraphSpec


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch of B crystals under models with C output columns in all.

    `values` is (B, C) float64 (NaN where there is a failure), `few_neighbors` (B,) bool (some atom has fewer
    neighbours inside the cutoff than the model reads), `failures` maps the index of a crystal to (stage,
    reason).
    """

    values: NDArray[np.float64]
    few_neighbors: NDArray[np.bool_]
    failures: dict[int, tuple[str, str]]


def graph_specs(models: Sequence[PropertyModel], ties: str | None) -> list[GraphSpec]:
    """List the graph each model reads, with `ties` in place of its own rule if given."""
    if ties is None:
        return [model.spec for model in models]
    return [dataclasses.replace(model.spec, ties=ties) for model in models]


class Predictor:
    """Applies `models` to batches of crystals; a crystal that some model cannot predict is a failure.

    Models are grouped by GraphSpec and each graph is built once, on `device` (None: as NumPy arrays). Work goes to `pool` in
    batches of at most `batch_atoms` atoms. Where a batch raises, its crystals are tried one at a time, so that only the
    culprits are lost; where memory runs out, the two halves of the batch.
    """

    def __init__(
        self,
        models: Sequence[PropertyModel],
        *,
        ties: str | None,
        batch_atoms: int,
        pool: BatchPool,
        device: torch.device | None = None,
    ) -> None:
        self.models = list(models)
        self._where: dict[str, Any] = {} if device is None else {"device": device}
        self.specs = graph_specs(models, ties)
        self._groups: dict[GraphSpec, list[int]] = {}
        for index, spec in enumerate(self.specs):
            self._groups.setdefault(spec, []).append(index)
        ends = np.cumsum([0, *(len(model.columns) for model in models)]).tolist()
        self._columns = [slice(start, stop) for start, stop in itertools.pairwise(ends)]  # of each model in Outcome.values
        self._n_columns = ends[-1]
        self._batch_atoms = batch_atoms
        self._pool = pool

    def __call__(self, crystals: Crystals) -> Outcome:
        """Predict every crystal. Never raises for what is in a crystal."""
        return self.submit(crystals)()

    def submit(self, crystals: Crystals) -> Callable[[], Outcome]:
        """Begin to predict every crystal; the function returned waits for the outcome."""
        failures = self._unknown_elements(crystals)
        known = np.ones(len(crystals), dtype=bool)
        known[list(failures)] = False
        usable = np.flatnonzero(known)
        subset = crystals if len(usable) == len(crystals) else crystals[usable]
        parts = [
            (usable[part], self._pool.submit(functools.partial(self._predict, subset[part])))
            for part in split_by_atoms(subset.graph_ptr, self._batch_atoms)
        ]

        def wait() -> Outcome:
            outcome = self._nothing(len(crystals))
            outcome.failures.update(failures)
            for where, part in parts:
                _place(part.result(), where, outcome)
            return outcome

        return wait

    def _nothing(self, n_crystals: int) -> Outcome:
        return Outcome(np.full((n_crystals, self._n_columns), np.nan), np.zeros(n_crystals, dtype=bool), {})

    def _unknown_elements(self, crystals: Crystals) -> dict[int, tuple[str, str]]:
        limit = min(model.max_atomic_number for model in self.models)
        atoms = np.flatnonzero(crystals.atomic_numbers > limit)
        failures: dict[int, tuple[str, str]] = {}
        for index in np.unique(np.searchsorted(crystals.graph_ptr, atoms, side="right") - 1).tolist():
            heaviest = int(crystals[index].atomic_numbers.max())
            reasons = [
                f"{symbol(heaviest)} (Z={heaviest}) is unknown to {model.name}, which knows Z up to {model.max_atomic_number}"
                for model in self.models
                if heaviest > model.max_atomic_number
            ]
            failures[index] = ("predict", "; ".join(reasons))
        return failures

    def _predict(self, crystals: Crystals) -> Outcome:
        try:
            return self._predict_together(crystals)
        except ImportError:
            raise  # no fault of a crystal: nothing can be predicted at all
        except Exception as error:
            if device_is_lost(error):
                raise  # nor here: the device answers nobody any more
            if len(crystals) == 1:
                outcome = self._nothing(1)
                outcome.failures[0] = self._diagnose(crystals, error)
                return outcome
            memory_ran_out = is_out_of_memory(error)
        # The error is gone, and with it the memory that its frames held.
        if memory_ran_out:
            release_cached_memory()
        outcome = self._nothing(len(crystals))
        for part in _halves(crystals) if memory_ran_out else _singles(crystals):
            _place(self._predict(crystals[part]), np.arange(part.start, part.stop), outcome)
        return outcome

    def _predict_together(self, crystals: Crystals) -> Outcome:
        outcome = self._nothing(len(crystals))
        for spec, members in self._groups.items():
            graph = build_graphs(crystals, spec, threads=1, **self._where)
            for index in members:
                outcome.values[:, self._columns[index]] = self.models[index].predict_columns(graph)
            few = graph.few_neighbors
            outcome.few_neighbors[:] |= few.cpu().numpy() if self._where else few
        self._reject_non_finite(outcome)
        return outcome

    def _diagnose(self, crystals: Crystals, error: Exception) -> tuple[str, str]:
        """Find the stage that failed: the graph if building one raises, else the prediction."""
        for spec in self._groups:
            try:
                build_graphs(crystals, spec, threads=1)
            except Exception as graph_error:  # noqa: BLE001 - it is what we look for
                return "graph", describe_error(graph_error)
        return "predict", describe_error(error)

    def _reject_non_finite(self, outcome: Outcome) -> None:
        for index in np.flatnonzero(~np.isfinite(outcome.values).all(axis=1)).tolist():
            reasons = [
                f"{model.name} gives {value}" + (f" for {column.name}" if len(model.columns) > 1 else "")
                for model, part in zip(self.models, self._columns, strict=True)
                for column, value in zip(model.columns, outcome.values[index, part].tolist(), strict=True)
                if not np.isfinite(value)
            ]
            outcome.failures[index] = ("predict", "; ".join(reasons))


def _halves(crystals: Crystals) -> list[slice]:
    """Two parts of about as many atoms."""
    graph_ptr = crystals.graph_ptr
    middle = int(np.searchsorted(graph_ptr, (graph_ptr[0] + graph_ptr[-1]) / 2))
    middle = min(max(middle, 1), len(crystals) - 1)
    return [slice(0, middle), slice(middle, len(crystals))]


def _singles(crystals: Crystals) -> list[slice]:
    return [slice(index, index + 1) for index in range(len(crystals))]


def _place(part: Outcome, where: NDArray[np.intp], whole: Outcome) -> None:
    """Put the outcome of crystals `where` into that of the whole batch."""
    whole.values[where] = part.values
    whole.few_neighbors[where] = part.few_neighbors
    for index, failure in part.failures.items():
        whole.failures[int(where[index])] = failure
