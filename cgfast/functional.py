"""Functions on tensors: fused where there is a kernel, the reference twin where there is none.

Gradients: the fused kernels compute forward only; where a gradient is wanted the twin of cgfast.reference runs instead,
so that gradients of any order are right, at the twin's cost in time and memory.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

import torch

from cgfast import ops, reference
from cgfast.checks import check_indices, check_message, check_pointers, check_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis

REDUCTIONS = ("mean", "sum", "min", "max")
_HALF = (torch.float16, torch.bfloat16)


def gated_message(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    *,
    edge_attr: Tensor | None = None,
    weight: Tensor | None = None,
    distances: Tensor | None = None,
    basis: GaussianBasis | None = None,
    edge_weight: Tensor | None = None,
) -> Tensor:
    """The CGCNN message, summed over the edges of each target (Xie & Grossman 2018, PRL 120, 145301, Eq. 5).

    out_i = sum over edges e of row i of w_e * sigmoid(gate_e) * softplus(core_e), where
    [gate_e | core_e] = p_i + q_source(e) + (edge term of e) @ weight.

    p: (N, 2F) target part, bias included. q: (M, 2F) source part. source: (E,) int64. row_ptr: (N + 1,) int64. weight:
    (K, 2F) with either edge_attr (E, K) or distances (E,) Å and a GaussianBasis of K centres; none of them: no edge term.
    edge_weight: (E,), default ones. Returns (N, F) in p's dtype; float16 and bfloat16 compute in float32.

    Raises ValueError, naming the argument, for shapes, dtypes or indices that do not fit. Same bits on every run and for
    every thread count. Gradients: see the module's docstring.
    """
    if (distances is None) != (basis is None):
        msg = "distances and basis go together, got " + ("no distances" if distances is None else "no basis")
        raise ValueError(msg)
    if basis is not None and weight is not None and weight.shape[0] != basis.n_centres:
        msg = f"weight must have one row per centre of the basis ({basis.n_centres}), got {tuple(weight.shape)}"
        raise ValueError(msg)
    dtype = p.dtype
    if dtype in _HALF:
        p, q, edge_attr, weight, edge_weight = (_wide(t) for t in (p, q, edge_attr, weight, edge_weight))  # type: ignore[assignment]
    if _use_kernel([t for t in (p, q, edge_attr, weight, distances, edge_weight) if t is not None]):
        shape = (0.0, 1.0, 1.0) if basis is None else (basis.start, basis.step, basis.gaussian_width)
        out: Tensor = ops.gated_message(p, q, source, row_ptr, edge_attr, weight, distances, *shape, edge_weight)
    else:
        check_message(p, q, source, row_ptr, edge_attr, weight, distances, edge_weight)
        check_indices(source, row_ptr, len(q))
        edge_term = {"edge_attr": edge_attr, "weight": weight, "distances": distances, "basis": basis}
        out = reference.gated_message(p, q, source, row_ptr, **edge_term, edge_weight=edge_weight)  # type: ignore[arg-type]
    return out.to(dtype)


def _wide(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def pool(x: Tensor, graph_ptr: Tensor, reduce: str = "mean") -> Tensor:
    """Pool atoms into crystals: (N, F) -> (B, F) by mean, sum, min or max; 0 for a crystal without atoms.

    graph_ptr: (B + 1,) int64. Differentiable, mean and sum to any order. Same bits on every run. Raises ValueError for an
    unknown `reduce` and a graph_ptr that does not begin with 0, rise and end with N.
    """
    if reduce not in REDUCTIONS:
        msg = f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}"
        raise ValueError(msg)
    if x.dim() != 2:
        msg = f"x must have shape (N, F), got {tuple(x.shape)}"
        raise ValueError(msg)
    check_tensor(graph_ptr, "graph_ptr", torch.int64, (None,), x.device)
    check_pointers(graph_ptr, "graph_ptr", len(x), "atoms")
    if len(x) == 0 or ops.wants_gradient(x):
        return reference.pool(x, graph_ptr, reduce)
    out = torch.segment_reduce(x, reduce, offsets=graph_ptr, axis=0, unsafe=True)
    return torch.where((graph_ptr[1:] == graph_ptr[:-1])[:, None], torch.zeros_like(out), out)


def _use_kernel(tensors: list[Tensor]) -> bool:
    if ops.wants_gradient(*tensors):
        return False
    device = tensors[0].device.type
    if device != "cpu":
        _warn_no_kernel(device)
        return False
    return True


@functools.cache
def _warn_no_kernel(device: str) -> None:
    warnings.warn(
        f"cgfast has no kernel for {device} tensors in this build: the slower PyTorch formulas run instead", stacklevel=4
    )
