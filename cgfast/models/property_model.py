"""A network with everything that gives its output a meaning: graph settings, normaliser, unit, origin."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cgfast.batch_pool import BatchPool
from cgfast.graph import BATCH_ATOMS, build_graphs, split_by_atoms

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.models.catalogue import Target
    from cgfast.models.forces import EnergyForcesStress
    from cgfast.neighbors import GraphSpec
    from cgfast.nn import CGCNN


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted values, one per crystal in input order. values: (B,) float64 in `unit`."""

    values: NDArray[np.float64]
    unit: str
    property: str
    ids: NDArray[np.str_]
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        rows = [f"{i}  {v:.4f}{unit}" for i, v in zip(self.ids, self.values, strict=True)]
        return "\n".join([f"{self.property}:", *rows])


@dataclass(frozen=True, slots=True, eq=False)
class PropertyModel:
    """A trained model that predicts one property of crystals.

    name: what load_model() knows it by, or the file's stem. target: property, unit, output column, class names. spec:
    how crystals become graphs. mean, std: the target normaliser, value = output * std + mean. sha256: of the weights
    file. source: path of that file. card: what its author says of it (training data, metrics, licence).
    """

    name: str
    target: Target
    network: CGCNN
    spec: GraphSpec
    mean: float
    std: float
    sha256: str
    source: str
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Unit of the predicted value; "1" for pure numbers."""
        return self.target.unit

    @property
    def column(self) -> str:
        """Name of the output column in a table of predictions."""
        return self.target.column

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of a classifier (its value is the probability of the last), None for regression."""
        return self.target.classes

    @property
    def task(self) -> str:
        """Either "regression" or "classification"."""
        return "classification" if self.network.classification else "regression"

    @property
    def max_atomic_number(self) -> int:
        """The heaviest element that the model knows."""
        return len(self.network.element_features)

    def with_ties(self, ties: str) -> Self:
        """The same model on graphs with another rule for ties ("shell" does not depend on the choice of cell)."""
        return replace(self, spec=replace(self.spec, ties=ties))

    def predict_graph(self, graph: CrystalGraph) -> NDArray[np.float64]:
        """(B,) float64 values in `unit` for a graph made with this model's spec; for a classifier the probability of the
        last class.

        Raises ValueError for a graph made with another cutoff, max_neighbors or rule for missing neighbours (ties may
        differ, see with_ties(); a graph of a user's own edges has no spec and is taken as it is).
        Raises ValueError for elements that the model does not know. Same bits for the same batch and torch thread count.
        """
        import torch

        if graph.spec is not None and replace(graph.spec, ties=self.spec.ties, tolerance=self.spec.tolerance) != self.spec:
            msg = f"graph must be made with {self.spec} for {self.name}, got one made with {graph.spec}"
            raise ValueError(msg)
        with torch.inference_mode():
            out = self.network.eval()(graph).double()
            values = torch.exp(out[:, -1]) if self.network.classification else out[:, 0] * self.std + self.mean
        return np.asarray(values.numpy(), np.float64)

    def predict(self, x: Any, *, threads: int | None = None) -> Prediction:  # noqa: ANN401 - pymatgen, ASE are optional
        """Predict for a pymatgen Structure, an ASE Atoms, a list of either, or Crystals.

        Same bits for the same crystals, whatever `threads` is.

        Raises ValueError, naming the crystal, for input that has no prediction (use cgfast.screen() to list failures
        instead).
        """
        crystals = self._usable(x)
        with BatchPool(threads) as pool:
            parts = [
                pool.submit(functools.partial(self._predict_batch, crystals[part]))
                for part in split_by_atoms(crystals.graph_ptr, BATCH_ATOMS)
            ]
            values = [part.result() for part in parts]
        return Prediction(
            np.concatenate([np.zeros(0), *values]), self.unit, self.property, np.asarray(crystals.ids), self.classes
        )

    def _predict_batch(self, crystals: Crystals) -> NDArray[np.float64]:
        return self.predict_graph(build_graphs(crystals, self.spec, threads=1))

    def energy_forces_stress(
        self,
        x: Any,  # noqa: ANN401 - pymatgen, ASE are optional
        *,
        dtype: torch.dtype | None = None,
        threads: int | None = None,
    ) -> EnergyForcesStress:
        """Energies (eV per cell), forces (eV/Å) and stress (eV/Å^3, ASE's sign) of the crystals that predict() takes.

        E = prediction * atoms of the cell for a target in eV/atom; forces = -dE/dposition; stress = (1/V) dE/dstrain, NaN
        for crystals that are not periodic in three directions. The derivatives are exact with the graph (edges and edge
        weights) held fixed; where neighbours change places the energy itself jumps. dtype: torch.float64 computes with a
        float64 copy of the network; default: the network's own. Same bits whatever `threads` is.

        Raises ValueError for a model that predicts no energy and, naming the crystal, for input without a prediction.
        """
        from cgfast.models.forces import check_energy_model, energy_forces_stress

        check_energy_model(self)
        return energy_forces_stress(self, self._usable(x), dtype=dtype, threads=threads)

    def _usable(self, x: Any) -> Crystals:  # noqa: ANN401 - pymatgen, ASE are optional
        """`x` as Crystals. Raises ValueError, naming the crystal, for one that has no prediction."""
        crystals = as_crystals(x)
        problems = crystals.problems(max_atomic_number=self.max_atomic_number)
        if problems:
            index, reason = next(iter(problems.items()))
            more = "" if len(problems) == 1 else f" (and {len(problems) - 1} more crystals have problems)"
            msg = f"crystal {index} (id {crystals.ids[index]}) cannot be predicted: {reason}{more}"
            raise ValueError(msg)
        return crystals

    def save(self, folder: str | os.PathLike[str], *, card: dict[str, Any] | None = None) -> Path:
        """Write the model to a folder that load_model() reads: `model.safetensors` and `model.json`.

        card: anything worth keeping as JSON (training data, metrics, licence); default: the model's own. Returns the
        folder. Raises ValueError if it cannot be written.
        """
        from cgfast.models.checkpoint import write_checkpoint

        return write_checkpoint(self, folder, self.card if card is None else card)

    @property  # last: in the lines below it the name hides the decorator
    def property(self) -> str:
        """What is predicted, in words."""
        return self.target.property


def as_crystals(x: Any) -> Crystals:  # noqa: ANN401 - pymatgen, ASE are optional
    """Crystals from a pymatgen Structure, an ASE Atoms, a list of either, or Crystals themselves.

    Raises ValueError for anything else.
    """
    from cgfast.crystals import Crystals

    if isinstance(x, Crystals):
        return x
    items = list(x) if isinstance(x, list | tuple) else [x]
    if items and all(hasattr(item, "get_positions") and hasattr(item, "get_pbc") for item in items):
        return Crystals.from_ase(items)
    if items and all(hasattr(item, "lattice") and hasattr(item, "sites") for item in items):
        return Crystals.from_pymatgen(items)
    if items and all(isinstance(item, Crystals) for item in items):
        return Crystals.concatenate(items)
    kinds = sorted({type(item).__name__ for item in items}) or ["an empty list"]
    msg = f"x must be a pymatgen Structure, an ASE Atoms, a list of one kind, or Crystals, got {', '.join(kinds)}"
    raise ValueError(msg)
