"""Predictions of several models for a batch of crystals, with one graph for all models that read the same."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import symbol
from cgfast.graph import build_graphs, split_by_atoms
from cgfast.screening.failures import describe_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.models import PropertyModel
    from cgfast.neighbors import GraphSpec


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch of B crystals under M models.

    `values` is (B, M) float64 (NaN where there is a failure), `few_neighbors` (B,) bool (some atom has fewer
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

    Models are grouped by GraphSpec and each graph is built once. Work goes in batches of at most
    `batch_atoms` atoms. Where a batch raises, its crystals are tried one at a time, so that only the culprits
    are lost.
    """

    def __init__(self, models: Sequence[PropertyModel], *, ties: str | None, batch_atoms: int, threads: int | None) -> None:
        self.models = list(models)
        self.specs = graph_specs(models, ties)
        self._groups: dict[GraphSpec, list[int]] = {}
        for index, spec in enumerate(self.specs):
            self._groups.setdefault(spec, []).append(index)
        self._batch_atoms = batch_atoms
        self._threads = threads

    def __call__(self, crystals: Crystals) -> Outcome:
        """Predict every crystal. Never raises for what is in a crystal."""
        outcome = Outcome(
            values=np.full((len(crystals), len(self.models)), np.nan),
            few_neighbors=np.zeros(len(crystals), dtype=bool),
            failures=self._unknown_elements(crystals),
        )
        known = np.ones(len(crystals), dtype=bool)
        known[list(outcome.failures)] = False
        usable = np.flatnonzero(known)
        subset = crystals if len(usable) == len(crystals) else crystals[usable]
        for part in split_by_atoms(subset.graph_ptr, self._batch_atoms):
            self._fill(subset[part], usable[part], outcome)
        self._reject_non_finite(usable, outcome)
        return outcome

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

    def _fill(self, crystals: Crystals, where: NDArray[np.intp], outcome: Outcome) -> None:
        try:
            for spec, members in self._groups.items():
                graph = build_graphs(crystals, spec, threads=self._threads)
                few = getattr(graph, "few_neighbors", None)
                if few is not None:
                    outcome.few_neighbors[where] |= np.asarray(few, dtype=bool)
                for index in members:
                    values = np.asarray(self.models[index].predict_graph(graph), dtype=np.float64)
                    outcome.values[where, index] = values.reshape(len(crystals))
        except ImportError:
            raise  # no fault of a crystal: nothing can be predicted at all
        except Exception as error:  # noqa: BLE001 - whatever a crystal makes go wrong, the others go on
            if len(crystals) == 1:
                outcome.failures[int(where[0])] = self._diagnose(crystals, error)
                return
            for position in range(len(crystals)):
                one = slice(position, position + 1)
                self._fill(crystals[one], where[one], outcome)

    def _diagnose(self, crystals: Crystals, error: Exception) -> tuple[str, str]:
        """Find the stage that failed: the graph if building one raises, else the prediction."""
        for spec in self._groups:
            try:
                build_graphs(crystals, spec, threads=self._threads)
            except Exception as graph_error:  # noqa: BLE001 - it is what we look for
                return "graph", describe_error(graph_error)
        return "predict", describe_error(error)

    def _reject_non_finite(self, usable: NDArray[np.intp], outcome: Outcome) -> None:
        bad_rows = usable[~np.isfinite(outcome.values[usable]).all(axis=1)]
        for index in bad_rows.tolist():
            if index in outcome.failures:
                continue
            reasons = [
                f"{model.name} gives {value}"
                for model, value in zip(self.models, outcome.values[index].tolist(), strict=True)
                if not np.isfinite(value)
            ]
            outcome.failures[index] = ("predict", "; ".join(reasons))
