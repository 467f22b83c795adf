"""Whether targets, normaliser and networks of a model fit together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgfast.models.catalogue import Target
    from cgfast.nn import CGCNN

STD_SUFFIX = "_std"  # of the column that says how far the members of an ensemble differ


def check_targets(targets: Sequence[Target], mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise ValueError unless there is a target, all are well-formed, and each has its mean and standard deviation."""
    if not targets:
        msg = "targets must be one or more, got none"
        raise ValueError(msg)
    for target in targets:
        _check_target(target)
    columns = [target.column for target in targets]
    taken = [*columns, *(column + STD_SUFFIX for column in columns)]
    if len(set(taken)) != len(taken):
        msg = f"targets must have columns of their own (and of {STD_SUFFIX}), got {', '.join(columns)}"
        raise ValueError(msg)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != len(targets) or not all(math.isfinite(value) for value in values):
            msg = f"{name} must be {len(targets)} finite numbers, one per target, got {tuple(values)}"
            raise ValueError(msg)


def check_networks(targets: Sequence[Target], networks: Sequence[CGCNN]) -> None:
    """Raise ValueError unless the networks are alike and have the outputs that the targets need."""
    import torch

    if not networks:
        msg = "networks must be one or more, got none"
        raise ValueError(msg)
    first = networks[0]
    for member, network in enumerate(networks[1:], start=1):
        alike = network.architecture() == first.architecture() and network.basis == first.basis
        if not alike or not torch.equal(network.element_features, first.element_features):
            msg = f"networks must agree in architecture, basis and element features, but member {member} differs from member 0"
            raise ValueError(msg)
    classes = first.classification
    if classes and (len(targets) != 1 or targets[0].classes is None):
        msg = f"targets must be one with classes for a network of classes, got {', '.join(target.column for target in targets)}"
        raise ValueError(msg)
    for target in targets:
        if not classes and target.classes is not None and len(target.classes) != 2:
            msg = f"classes of {target.column} must be two names, got {target.classes}"
            raise ValueError(msg)
    wanted = sum(target.n_outputs for target in targets)
    outputs = first.architecture()["n_classes" if classes else "n_out"]
    if wanted != outputs:
        msg = f"targets need {wanted} outputs of the network (1 for a number, 1 per class), but it has {outputs}"
        raise ValueError(msg)


def _check_target(target: Target) -> None:
    for name in ("property", "unit", "column"):
        value = getattr(target, name)
        if not isinstance(value, str) or not value:
            msg = f"{name} of a target must be a text, got {value!r}"
            raise ValueError(msg)
    if target.data is not None and not isinstance(target.data, str):
        msg = f"data of a target must be a text or None, got {target.data!r}"
        raise ValueError(msg)
    classes = target.classes
    if classes is not None and not (isinstance(classes, tuple) and classes and all(isinstance(c, str) for c in classes)):
        msg = f"classes of a target must be names or None, got {classes!r}"
        raise ValueError(msg)
