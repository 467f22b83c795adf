"""A linear layer whose rows know nothing of each other, not even in their last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from cgfast.nn.linear_parameters import linear_parameters
from cgfast.ops import split_linear

if TYPE_CHECKING:
    from torch import Tensor


def row_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x) for x (N, F_in) -> (N, F_out).

    Where no gradient is recorded, a torch.nn.Linear is multiplied by the core: the bits of a row depend on that row alone, so
    that a prediction does not depend on which crystals share its batch. (A BLAS multiplies the last few rows of a matrix
    by another routine than the others.) Elsewhere, and for a layer with hooks or of another kind, the layer itself is called.
    """
    plain = type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)  # noqa: SLF001 - shown nowhere else
    if not plain or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.dim() != 2:
        out: Tensor = layer(x)
        return out
    weight, bias = linear_parameters(layer, "layer")
    return split_linear(x, x.new_empty((0, 0)), weight, bias).p
