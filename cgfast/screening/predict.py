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
from cgfast.nearest_edges import NONE, any_of_crystal, nearest_edges, only_nearest, shortest_distances
from cgfast.screening.flags import OVERLAP_DISTANCE, Flag, flag_texts
from cgfast.screening.output.failures import describe_error
from cgfast.screening.policies import Policies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from cgfast.batch_pool import BatchPool
    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.models import PropertyModel
    from cgfast.neighbors import GraphSpec


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch of B crystals under models with C output columns in all.

    `values` is (B, C) float64 (NaN where there is a failure), `bits` (B,) uint16 (see Flag), `shortest` (B,) float64 the
    shortest distance in Å between two atoms (inf without one inside the cutoffs), `failures` maps the index of a crystal to
    (stage, reason).
    """

    values: NDArray[np.float64]
    bits: NDArray[np.uint16]
    shortest: NDArray[np.float64]
    failures: dict[int, tuple[str, str]]

    @property
    def flags(self) -> list[str]:
        """What the column `flags` says of each of the B crystals."""
        return flag_texts(self.bits)


def graph_specs(models: Sequence[PropertyModel], ties: str | None) -> list[GraphSpec]:
    """List the graph each model reads, with `ties` in place of its own rule if given."""
    if ties is None:
        return [model.spec for model in models]
    return [dataclasses.replace(model.spec, ties=ties) for model in models]


class BatchPredictor:
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
        policies: Policies | None = None,
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
        self._policies = Policies() if policies is None else policies

    def __call__(self, crystals: Crystals) -> Outcome:
        """Predict every crystal. Never raises for what is in a crystal, unless a policy is "error"."""
        return self.submit(crystals)()

    def submit(
        self,
        crystals: Crystals,
        *,
        rows: NDArray[np.integer] | None = None,
        settled: NDArray[np.bool_] | None = None,
    ) -> Callable[[], Outcome]:
        """Begin to predict every crystal; the function returned waits for the outcome.

        rows: (B,) input row of each, for messages. settled: (B,) whether each was disordered and is what the majority left.
        The function returned raises ValueError for the first crystal that a policy of "error" is about.
        """
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
            if settled is not None:
                _mark(outcome, settled, Flag.MAJORITY_SPECIES)
            self._policies.apply(outcome, crystals, rows, self.models, failures)
            return outcome

        return wait

    def _nothing(self, n_crystals: int) -> Outcome:
        values = np.full((n_crystals, self._n_columns), np.nan)
        return Outcome(values, np.zeros(n_crystals, dtype=np.uint16), np.full(n_crystals, np.inf), {})

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
        outcome = self._nothing(len(crystals))
        try:
            self._predict_together(crystals, outcome)
        except ImportError:
            raise  # no fault of a crystal: nothing can be predicted at all
        except Exception as error:
            if device_is_lost(error):
                raise  # nor here: the device answers nobody any more
            if len(crystals) == 1:
                outcome.failures[0] = self._diagnose(crystals, error)
                return outcome
            memory_ran_out = is_out_of_memory(error)
        else:
            return outcome
        # The error is gone, and with it the memory that its frames held.
        if memory_ran_out:
            release_cached_memory()
        for part in _halves(crystals) if memory_ran_out else _singles(crystals):
            _place(self._predict(crystals[part]), np.arange(part.start, part.stop), outcome)
        return outcome

    def _predict_together(self, crystals: Crystals, outcome: Outcome) -> None:
        for spec, members in self._groups.items():
            graph = build_graphs(crystals, spec, threads=1, **self._where)
            judged = only_nearest(graph) if self._where else graph
            nearest = nearest_edges(judged)
            _judge_distances(judged, nearest, outcome)
            for index in members:
                part = outcome.values[:, self._columns[index]]
                part[:] = _predict_and_check(self.models[index], graph, judged, nearest, outcome)
        self._reject_non_finite(outcome)

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


def _judge_distances(graph: CrystalGraph, nearest: NDArray[np.int64], outcome: Outcome) -> None:
    """Flag what can be told from the distances alone."""
    np.minimum(outcome.shortest, shortest_distances(graph, nearest), out=outcome.shortest)
    _mark(outcome, outcome.shortest < OVERLAP_DISTANCE, Flag.OVERLAP)
    _mark(outcome, any_of_crystal(nearest == NONE, graph.graph_ptr), Flag.ISOLATED_ATOM)
    _mark(outcome, graph.few_neighbors, Flag.FEW_NEIGHBORS)


def _predict_and_check(
    model: PropertyModel, graph: CrystalGraph, judged: CrystalGraph, nearest: NDArray[np.int64], outcome: Outcome
) -> NDArray[np.float64]:
    """The model's columns; flag what is outside of its domain, if it knows that.

    judged: the graph as NumPy arrays, with the edges that `nearest` numbers.
    """
    domain = getattr(model, "domain", None)  # a model of one's own need not have one
    if domain is None:
        return model.predict_columns(graph)
    if domain.features is None:
        values, features = model.predict_columns(graph), None
    else:
        values, features = model.predict_with_features(graph)
    check = domain.check(judged, features, nearest)
    _mark(outcome, check.unseen_element, Flag.UNSEEN_ELEMENT)
    _mark(outcome, check.unusual_distance, Flag.UNUSUAL_DISTANCE)
    _mark(outcome, check.far_embedding, Flag.FAR_EMBEDDING)
    return values


def _halves(crystals: Crystals) -> list[slice]:
    """Two parts of about as many atoms."""
    graph_ptr = crystals.graph_ptr
    middle = int(np.searchsorted(graph_ptr, (graph_ptr[0] + graph_ptr[-1]) / 2))
    middle = min(max(middle, 1), len(crystals) - 1)
    return [slice(0, middle), slice(middle, len(crystals))]


def _singles(crystals: Crystals) -> list[slice]:
    return [slice(index, index + 1) for index in range(len(crystals))]


def _mark(outcome: Outcome, crystals: NDArray[np.bool_], flag: Flag) -> None:
    outcome.bits[crystals] |= np.uint16(flag)


def _place(part: Outcome, where: NDArray[np.intp], whole: Outcome) -> None:
    """Put the outcome of crystals `where` into that of the whole batch."""
    whole.values[where] = part.values
    whole.bits[where] = part.bits
    whole.shortest[where] = part.shortest
    for index, failure in part.failures.items():
        whole.failures[int(where[index])] = failure
