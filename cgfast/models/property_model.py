"""Networks with everything that gives their output a meaning: graph settings, normaliser, units, origin."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from cgfast._devices import torch_device
from cgfast.batch_pool import BatchPool
from cgfast.graph import batch_atoms_on, build_graphs, split_by_atoms
from cgfast.models.as_crystals import as_crystals
from cgfast.models.catalogue import Target, task_of
from cgfast.models.network_values import network_values
from cgfast.models.prediction import OutputColumn, Prediction, only_target, output_columns
from cgfast.models.targets import check_networks, check_targets

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.models.domain import Domain, DomainCheck
    from cgfast.models.forces import EnergyForcesStress
    from cgfast.neighbors import GraphSpec
    from cgfast.nn import CGCNN

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class PropertyModel:
    """A trained model that predicts one or more properties of crystals.

    name: what load_model() knows it by, or the file's stem. targets: what it predicts, T of them. networks: one, or the
    members of an ensemble, alike but for their weights; their outputs are 1 column per number and 1 per class, in the order
    of the targets. spec: how crystals become graphs. mean, std: the normaliser, value = output * std + mean, one number per
    target (0 and 1 for classes). sha256: of the weights file, "" before there is one. source: path of that file. card: what
    its author says of it (training data, metrics, licence). domain: what it knows of its training set, None for nothing. A
    Target, a network or a number alone stands for one of each.

    Raises ValueError for targets that are not well-formed, and for parts that do not fit each other.
    """

    name: str
    targets: tuple[Target, ...]
    networks: tuple[CGCNN, ...]
    spec: GraphSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    source: str
    card: dict[str, Any] = field(default_factory=dict)
    domain: Domain | None = None

    def __post_init__(self) -> None:
        for name in ("targets", "networks", "mean", "std"):
            value = getattr(self, name)
            is_one = isinstance(value, Target | Real) or callable(value)
            object.__setattr__(self, name, (value,) if is_one else tuple(value))
        check_targets(self.targets, self.mean, self.std)
        check_networks(self.targets, self.networks)

    @property
    def target(self) -> Target:
        """The only target. Raises ValueError for a model of several."""
        return only_target(self.targets, f"target of {self.name}")

    @property
    def network(self) -> CGCNN:
        """The network, of an ensemble the first member."""
        return self.networks[0]

    @property
    def unit(self) -> str:
        """Unit of the predicted value; "1" for pure numbers. Raises ValueError for a model of several targets."""
        return only_target(self.targets, f"unit of {self.name}").unit

    @property
    def column(self) -> str:
        """Name of the output column of the only target. Raises ValueError for a model of several targets."""
        return only_target(self.targets, f"column of {self.name}").column

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of a classifier (its value is the probability of the last), None for a number.

        Raises ValueError for a model of several targets.
        """
        return only_target(self.targets, f"classes of {self.name}").classes

    @property
    def columns(self) -> tuple[OutputColumn, ...]:
        """The columns of predict_columns(): one per target; of an ensemble each is followed by `<column>_std`."""
        return output_columns(self.targets, with_std=len(self.networks) > 1)

    @property
    def task(self) -> str:
        """Either "regression" or "classification", or "mixed" for targets of both kinds."""
        return task_of(self.targets)

    @property
    def max_atomic_number(self) -> int:
        """The heaviest element that the model knows."""
        return len(self.network.element_features)

    @property
    def device(self) -> torch.device:
        """Where the networks are, and compute."""
        return self.network.element_features.device

    def to(self, device: object) -> Self:
        """The same model with its networks on a torch device: itself if they are there, else with copies of them.

        Raises ValueError for a device that torch does not have.
        """
        place = torch_device(device)
        if place == self.device:
            return self
        return replace(self, networks=tuple(copy.deepcopy(network).to(place) for network in self.networks))

    def with_ties(self, ties: str) -> Self:
        """The same model on graphs with another rule for ties ("shell" does not depend on the choice of cell)."""
        return replace(self, spec=replace(self.spec, ties=ties))

    def predict_columns(self, graph: CrystalGraph) -> NDArray[np.float64]:
        """(B, len(columns)) float64 values for a graph made with this model's spec, in the columns' units.

        A target with classes gives the probability of the last class. Of an ensemble: the mean of the members' values, and
        their population standard deviation.

        Raises ValueError for a graph made with another cutoff, max_neighbors or rule for missing neighbours (ties may
        differ, see with_ties(); a graph of a user's own edges has no spec and is taken as it is).
        Raises ValueError for elements that the model does not know. The graph may be anywhere: it goes where the networks
        are. Same bits for the same batch, device and torch thread count.
        """
        return self._columns(graph, with_features=False)[0]

    def predict_with_features(self, graph: CrystalGraph) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What predict_columns() gives, and (B, F) float32 features of the crystals, of which `domain` knows the training set.

        They are what the first network makes of the atoms in its last convolution, pooled; one pass through the network gives
        both. Errors and determinism as in predict_columns().
        """
        columns, features = self._columns(graph, with_features=True)
        return columns, np.asarray(features, np.float32)

    def _columns(self, graph: CrystalGraph, *, with_features: bool) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """The columns; and the features of the first network if they are wanted."""
        if graph.spec is not None and replace(graph.spec, ties=self.spec.ties, tolerance=self.spec.tolerance) != self.spec:
            msg = f"graph must be made with {self.spec} for {self.name}, got one made with {graph.spec}"
            raise ValueError(msg)
        graph = graph.to(self.device)
        first, features = network_values(self, self.network, graph, with_features=with_features)
        if len(self.networks) == 1:
            return first, features
        others = [network_values(self, network, graph, with_features=False)[0] for network in self.networks[1:]]
        members = np.stack([first, *others])
        both = np.stack([members.mean(axis=0), members.std(axis=0)], axis=2)
        return both.reshape(len(both), len(self.columns)), features

    def predict_graph(self, graph: CrystalGraph) -> NDArray[np.float64]:
        """(B,) float64 values of the only target: the first of predict_columns(), where more is said.

        Raises ValueError for a model of several targets too.
        """
        only_target(self.targets, f"predict_graph of {self.name}")
        return self.predict_columns(graph)[:, 0]

    def predict(self, x: Any, *, threads: int | None = None) -> Prediction:  # noqa: ANN401 - pymatgen, ASE are optional
        """Predict for a pymatgen Structure, an ASE Atoms, a list of either, or Crystals.

        Same bits for the same crystals and device, whatever `threads` is.

        Raises ValueError, naming the crystal, for input that has no prediction (use cgfast.screen() to list failures
        instead).
        """
        crystals = self._usable(x)
        found = self._by_batches(crystals, self.predict_columns, threads)
        columns = np.concatenate([np.zeros((0, len(self.columns))), *found])
        return Prediction.from_columns(columns, np.asarray(crystals.ids), self.targets)

    def check_domain(self, x: Any, *, threads: int | None = None) -> DomainCheck:  # noqa: ANN401 - pymatgen, ASE are optional
        """In what way the crystals that predict() takes are unlike the training set (see DomainCheck).

        Raises ValueError for a model that does not know its domain, and as predict() does.
        """
        from cgfast.models.domain import DomainCheck

        domain = self.domain
        if domain is None:
            msg = f"check_domain: {self.name} does not say what it was trained on"
            raise ValueError(msg)

        def check(graph: CrystalGraph) -> DomainCheck:
            return domain.check(graph, self.predict_with_features(graph)[1])

        found = self._by_batches(self._usable(x), check, threads)
        return DomainCheck.join(found)

    def _by_batches(self, crystals: Crystals, function: Callable[[CrystalGraph], T], threads: int | None) -> list[T]:
        """What `function` makes of the graphs of crystals, batch by batch."""

        def compute(part: Crystals) -> T:
            return function(build_graphs(part, self.spec, threads=1, device=self.device))

        with BatchPool(threads) as pool:
            parts = [
                pool.submit(functools.partial(compute, crystals[part]))
                for part in split_by_atoms(crystals.graph_ptr, batch_atoms_on(self.device))
            ]
            return [part.result() for part in parts]

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
        float64 copy of the network; default: the network's own. Of an ensemble: the means over its members. Same bits
        whatever `threads` is.

        Raises ValueError for a model that predicts no energy, or more than that, and, naming the crystal, for input without
        a prediction.
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

    def save_2018(self, path: str | os.PathLike[str]) -> Path:
        """Write the model as a checkpoint of the 2018 code, `NAME.pth.tar`, with its element features beside it.

        The 2018 code reads element features from the `atom_init.json` of the data folder; they must be the model's own. They
        are written to `NAME-atom_init.json`: of a model that learned its element table a one-hot code of 100 numbers, the
        table itself being the file's `embedding`. Copy it over `atom_init.json` for the 2018 code; load_model() finds it where
        it is. Of the training nothing is kept: epoch is 0. Returns the path.

        Raises ValueError if the 2018 code cannot express the model (several targets, an ensemble, another convolution,
        readout, pooling or activation, or another basis or graph than its twelve nearest neighbours inside 8 Å), for a path
        that does not end in .pth.tar, and if it cannot be written.
        """
        from cgfast.models.export_2018 import write_checkpoint_2018

        return write_checkpoint_2018(self, path)

    @property  # last: in the lines below it the name hides the decorator
    def property(self) -> str:
        """What is predicted, in words. Raises ValueError for a model of several targets."""
        return only_target(self.targets, f"property of {self.name}").property
