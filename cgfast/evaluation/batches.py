"""A function of graphs applied to many crystals, batch by batch; a crystal that it cannot do is a failure, not the end."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cgfast.graph import BATCH_ATOMS, build_graphs, split_by_atoms
from cgfast.screening.output.failures import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from cgfast.batch_pool import BatchPool
    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.neighbors import GraphSpec

    # Values per crystal (B, K) and per atom (N, F); K or F may be 0.
    GraphFunction = Callable[[CrystalGraph], tuple[NDArray[np.floating], NDArray[np.floating]]]

NO_ATOM_VALUES = 0  # columns of the values per atom of a function that has none


@dataclass(frozen=True, slots=True)
class Computed:
    """What became of a batch: `index` are the crystals that have values, rising.

    `crystals` is (len(index), K); `atoms` (atoms of those crystals, F); `failures` maps the index of each other crystal to
    (stage, reason).
    """

    index: NDArray[np.int64]
    crystals: NDArray[np.floating]
    atoms: NDArray[np.floating]
    failures: dict[int, tuple[str, str]]


class BatchFunction:
    """Applies `function` to the graphs of crystals, on the threads of `pool`, at most BATCH_ATOMS atoms at a time.

    A crystal with an element beyond `max_atomic_number`, one that makes `function` raise and one whose values are not finite
    are failures. Same bits for the same crystals, whatever the number of threads.
    """

    def __init__(self, function: GraphFunction, spec: GraphSpec, *, max_atomic_number: int, pool: BatchPool) -> None:
        self._function = function
        self._spec = spec
        self._max_atomic_number = max_atomic_number
        self._pool = pool

    def __call__(self, crystals: Crystals) -> Computed:
        """Compute every crystal. Never raises for what is in a crystal."""
        return self.submit(crystals)()

    def submit(self, crystals: Crystals) -> Callable[[], Computed]:
        """Begin to compute every crystal; the function returned waits for the outcome."""
        problems = crystals.problems(max_atomic_number=self._max_atomic_number)
        usable = np.setdiff1d(np.arange(len(crystals)), list(problems))
        subset = crystals[usable] if problems else crystals
        parts = [
            (usable[part], self._pool.submit(functools.partial(self._compute, subset[part])))
            for part in split_by_atoms(subset.graph_ptr, BATCH_ATOMS)
        ]

        def wait() -> Computed:
            done = _join((where, part.result()) for where, part in parts)
            done.failures.update({index: ("predict", reason) for index, reason in problems.items()})
            return done

        return wait

    def _compute(self, crystals: Crystals) -> Computed:
        graph = None
        try:
            graph = build_graphs(crystals, self._spec, threads=1)
            values, atom_values = self._function(graph)
        except ImportError:
            raise  # no fault of a crystal: nothing can be computed at all
        except Exception as error:  # noqa: BLE001 - whatever a crystal makes go wrong, the others go on
            if len(crystals) == 1:
                stage = "graph" if graph is None else "predict"
                return Computed(*_nothing(), {0: (stage, describe_error(error))})
            return _join((np.array([i]), self._compute(crystal)) for i, crystal in enumerate(crystals))
        return _finite(crystals, values, atom_values)


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.floating]]:
    return np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 0))


def _finite(crystals: Crystals, values: NDArray[np.floating], atom_values: NDArray[np.floating]) -> Computed:
    owner = np.repeat(np.arange(len(crystals)), np.diff(crystals.graph_ptr))
    good = np.isfinite(values).all(axis=1)
    good[owner[~np.isfinite(atom_values).all(axis=1)]] = False
    failures = {int(index): ("predict", "the model gives values that are not finite") for index in np.flatnonzero(~good)}
    return Computed(np.flatnonzero(good).astype(np.int64), values[good], atom_values[good[owner]], failures)


def _join(parts: Iterable[tuple[NDArray[np.int64], Computed]]) -> Computed:
    """One outcome of several; each part says which crystals of the whole it was about."""
    index, values, atom_values = [], [], []
    failures: dict[int, tuple[str, str]] = {}
    for where, part in parts:
        failures.update({int(where[i]): failure for i, failure in part.failures.items()})
        if len(part.index):
            index.append(where[part.index])
            values.append(part.crystals)
            atom_values.append(part.atoms)
    if not index:
        return Computed(*_nothing(), failures)
    return Computed(np.concatenate(index), np.concatenate(values), np.concatenate(atom_values), failures)
