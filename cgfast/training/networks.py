"""The network of a new model, and where it starts from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from cgfast.basis import GaussianBasis
from cgfast.models.loading import load_model
from cgfast.neighbors import GraphSpec
from cgfast.nn import CGCNN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cgfast.models import PropertyModel
    from cgfast.models.catalogue import Target
    from cgfast.training.options import TrainOptions


def graph_spec(options: TrainOptions) -> GraphSpec:
    """How crystals become graphs for a model of these options."""
    return GraphSpec(options.cutoff, options.max_neighbors, options.ties, missing=options.missing)


def new_network(targets: Sequence[Target], options: TrainOptions, element_features: Tensor | None, seed: int) -> CGCNN:
    """A network with random weights; same weights for the same seed.

    A single class target has the head of the 2018 classifier (dropout, log-probabilities); several targets share one head. A
    site readout has no head: it gives two logits.
    """
    basis = GaussianBasis(0.0, options.cutoff, options.step)
    torch.manual_seed(seed)
    network = CGCNN(
        element_features,
        nbr_fea_len=basis.n_centres,
        atom_fea_len=options.atom_fea_len,
        n_conv=options.n_conv,
        h_fea_len=options.h_fea_len,
        n_h=options.n_h,
        classification=_has_class_head(targets, options.readout),
        n_out=sum(target.n_outputs for target in targets),
        pooling=options.pooling,
        readout=options.readout,
        basis=basis,
        conv=options.conv,
        activation=options.activation,
    )
    return network.double() if options.precision == "64" else network


def network_from(
    model: PropertyModel, targets: Sequence[Target], *, freeze: bool, new_head: bool, seed: int, double: bool = False
) -> CGCNN:
    """A copy of a trained network to go on with.

    freeze: embedding and convolutions keep their weights (and batch norms their statistics). new_head: everything behind the
    convolutions starts anew; needed for other targets, whose outputs would not fit. double: in float64.
    """
    trained = model.networks[0]
    architecture = trained.architecture()
    if new_head:
        classifier = _has_class_head(targets, trained.readout)
        architecture |= {"classification": classifier, "n_out": sum(target.n_outputs for target in targets), "n_classes": 2}
    torch.manual_seed(seed)
    network = CGCNN(trained.element_features.clone(), basis=trained.basis, **architecture)  # type: ignore[arg-type]
    body = ("embedding.", "convs.")
    state = copy.deepcopy(trained.state_dict())
    if new_head:
        state = {name: value for name, value in state.items() if name.startswith(body)}
    network.load_state_dict(state, strict=not new_head)
    if freeze:
        for name, parameter in network.named_parameters():
            if name.startswith(body):
                parameter.requires_grad = False
    return network.double() if double else network


def _has_class_head(targets: Sequence[Target], readout: str) -> bool:
    """Whether the network ends in the head of the 2018 classifier: for a single target of classes, if it has a head."""
    return len(targets) == 1 and targets[0].classes is not None and readout != "site"


def start_model(name: str) -> PropertyModel:
    """The model to start from. Raises ValueError as load_model() does, and for an ensemble."""
    model = load_model(name)
    if len(model.networks) > 1:
        msg = f"model: got {model.name}, an ensemble of {len(model.networks)}, expected a single network to start from"
        raise ValueError(msg)
    return model
