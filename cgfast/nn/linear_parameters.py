"""The weight and bias of a torch.nn.Linear that is never called: its products are made elsewhere, in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class LinearParameters(NamedTuple):
    """weight (n_out, n_in) and bias (n_out,) or None."""

    weight: Tensor
    bias: Tensor | None


def linear_parameters(layer: nn.Module, name: str) -> LinearParameters:
    """What `layer` would multiply with now. Hooks that make its weight (pruning, weight_norm, spectral_norm) run.

    Raises TypeError, naming the layer, if it is no torch.nn.Linear or has hooks that want to see it called.
    """
    if not isinstance(layer, nn.Linear) or type(layer).forward is not nn.Linear.forward:
        msg = f"{name} must be a torch.nn.Linear, whose weight and bias are used without calling it, got {type(layer).__name__}"
        raise TypeError(msg)
    if layer._forward_hooks or layer._backward_hooks or layer._backward_pre_hooks:  # noqa: SLF001 - torch shows them nowhere else
        msg = f"{name} must have no hooks: it is not called, only its weight and bias are used"
        raise TypeError(msg)
    for hook in layer._forward_pre_hooks.values():  # noqa: SLF001
        if not (hasattr(hook, "compute_weight") or hasattr(hook, "apply_mask")):
            msg = f"{name} must have no hooks but those that make its weight: it is not called, got {hook!r}"
            raise TypeError(msg)
        hook(layer, ())
    return LinearParameters(layer.weight, layer.bias)
