"""The domain of a model: what it was trained on, and whether a crystal is something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from cgfast.elements import MAX_ATOMIC_NUMBER, SYMBOLS, atomic_number
from cgfast.models.distance_ranges import DistanceRanges, contacts
from cgfast.models.feature_cloud import FeatureCloud
from cgfast.nearest_edges import any_of_crystal, nearest_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from cgfast.graph import CrystalGraph
    from cgfast.nn import CGCNN


class DomainCheck(NamedTuple):
    """In what way each of B crystals is unlike the training set: (B,) bool each.

    unseen_element: it has an element that no training crystal had. unusual_distance: the nearest neighbour of some atom is
    nearer or farther than in training for these two elements. far_embedding: its features are farther from the mean of the
    training set than those of 99.5 % of the training crystals. What the model does not know of its domain is False.
    """

    unseen_element: NDArray[np.bool_]
    unusual_distance: NDArray[np.bool_]
    far_embedding: NDArray[np.bool_]

    @property
    def outside(self) -> NDArray[np.bool_]:
        """(B,) any of these."""
        return self.unseen_element | self.unusual_distance | self.far_embedding

    @classmethod
    def join(cls, parts: Sequence[DomainCheck]) -> DomainCheck:
        """One check of several batches, in order."""
        none = np.zeros(0, dtype=bool)
        return cls(*(np.concatenate([none, *(part[k] for part in parts)]) for k in range(len(cls._fields))))


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """What a model carries of its training set, as far as it is known.

    elements: symbols of those that it has learned, by atomic number; empty if that is not known. distances: of nearest
    neighbours, by pair of elements, or None. features: of whole crystals, as the first network pools them, or None.

    Raises ValueError for something that is no element.
    """

    elements: tuple[str, ...] = ()
    distances: DistanceRanges | None = None
    features: FeatureCloud | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.elements if name not in SYMBOLS[1:]]
        if unknown:
            msg = f"elements must be chemical symbols, got {unknown[0]!r}"
            raise ValueError(msg)
        object.__setattr__(self, "elements", tuple(sorted(set(self.elements), key=atomic_number)))

    @classmethod
    def fit(cls, network: CGCNN, graphs: Iterable[CrystalGraph], elements: Sequence[str]) -> Self:
        """The domain of a training set.

        network: the model's first. graphs: of all training crystals, in batches, made with the model's spec. elements: what
        the network has learned, which may be more than the graphs have (fine-tuning). Same bits for the same graphs.
        """
        found, features = [], []
        start = 0
        for graph in graphs:
            found.append(contacts(graph.numpy(), start))
            features.append(pooled_features(network, graph))
            start += graph.n_crystals
        return cls(tuple(elements), DistanceRanges.fit(found), FeatureCloud.fit(features))

    def unseen(self, atomic_numbers: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """(N,) whether each atom is of an element that no training crystal had; False where the elements are not known."""
        if not self.elements:
            return np.zeros(len(atomic_numbers), dtype=bool)
        known = np.zeros(MAX_ATOMIC_NUMBER + 1, dtype=bool)
        known[[atomic_number(name) for name in self.elements]] = True
        out: NDArray[np.bool_] = ~known[atomic_numbers]
        return out

    def check(
        self, graph: CrystalGraph, features: NDArray[np.floating] | None, nearest: NDArray[np.int64] | None = None
    ) -> DomainCheck:
        """Compare crystals with the training set.

        graph: made with the model's spec. features: (B, F) of the model's first network; None leaves them out. nearest: what
        nearest_edges() gives for the graph, if it is known already. A crystal near a limit may lie on either side of it on
        machines whose arithmetic rounds differently.
        """
        plain = graph.numpy()
        nothing = np.zeros(plain.n_crystals, dtype=bool)
        unusual = far = nothing
        if self.distances is not None:
            unusual = self.distances.unusual(plain, nearest_edges(plain) if nearest is None else nearest)
        if self.features is not None and features is not None:
            far = self.features.far(features)
        return DomainCheck(any_of_crystal(self.unseen(plain.atomic_numbers), plain.graph_ptr), unusual, far)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The domain as plain JSON types and as named arrays: the inverse of from_parts()."""
        fields: dict[str, Any] = {"elements": list(self.elements)}
        arrays: dict[str, NDArray[Any]] = {}
        if self.distances is not None:
            fields["distances"] = self.distances.to_dict()
            arrays |= {"pairs": self.distances.pairs, "ranges": self.distances.ranges}
        if self.features is not None:
            fields["features"] = self.features.to_dict()
            arrays |= {"mean": self.features.mean, "whitening": self.features.whitening}
        return fields, arrays

    @classmethod
    def from_parts(cls, fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of to_parts(). Raises KeyError, TypeError or ValueError for what is none."""
        distances = features = None
        if "distances" in fields:
            tolerance = float(fields["distances"]["tolerance"])
            distances = DistanceRanges(arrays["pairs"], arrays["ranges"], tolerance)
        if "features" in fields:
            features = FeatureCloud(arrays["mean"], arrays["whitening"], float(fields["features"]["threshold"]))
        return cls(tuple(fields["elements"]), distances, features)


def pooled_features(network: CGCNN, graph: CrystalGraph) -> NDArray[np.float32]:
    """(B, F) float32: the features of crystals, as the network pools those of their atoms."""
    import torch

    with torch.inference_mode():
        _, features = network.eval().forward_with_features(graph.to(network.element_features.device))
        out: NDArray[np.float32] = features.float().cpu().numpy()
        return out
