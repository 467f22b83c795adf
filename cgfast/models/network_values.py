"""From what a network gives to values in the targets' units."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cgfast.graph import CrystalGraph
    from cgfast.models.property_model import PropertyModel
    from cgfast.nn import CGCNN


def network_values(
    model: PropertyModel, network: CGCNN, graph: CrystalGraph, *, with_features: bool
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """(B, T) values of one network of a model: what its outputs mean; and its (B, F) features if they are wanted.

    graph: where the network is.
    """
    import torch

    with torch.inference_mode():
        network = network.eval()
        raw, features = network.forward_with_features(graph) if with_features else (network(graph), None)
        parts = raw.double().split([target.n_outputs for target in model.targets], dim=1)
        values = [
            part[:, 0] * std + mean
            if target.classes is None
            else torch.log_softmax(part, dim=1)[:, -1].exp()  # changes nothing where the network did it already
            for target, part, mean, std in zip(model.targets, parts, model.mean, model.std, strict=True)
        ]
        stacked: NDArray[np.float64] = torch.stack(values, dim=1).cpu().numpy()
        return stacked, None if features is None else features.float().cpu().numpy()
