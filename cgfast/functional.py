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
    if weight is None and (edge_attr is not None or distances is not None):
        msg = "weight must come with edge_attr or distances, got None"
        raise ValueError(msg)
    if p.dtype in _HALF:
        wide = [None if t is None else t.float() for t in (p, q, edge_attr, weight, edge_weight)]
        narrow = gated_message(
            wide[0],  # type: ignore[arg-type]
            wide[1],  # type: ignore[arg-type]
            source,
            row_ptr,
            edge_attr=wide[2],
            weight=wide[3],
            distances=distances,
            basis=basis,
            edge_weight=wide[4],
        )
        return narrow.to(p.dtype)
    tensors = [t for t in (p, q, edge_attr, weight, distances, edge_weight) if t is not None]
    if not _use_kernel(tensors):
        return reference.gated_message(
            p, q, source, row_ptr,
            edge_attr=edge_attr, weight=weight, distances=distances, basis=basis, edge_weight=edge_weight,
        )  # fmt: skip
    start, step, width = (0.0, 1.0, 1.0) if basis is None else (basis.start, basis.step, basis.gaussian_width)
    out: Tensor = ops.gated_message(
        p,
        q,
        source,
        row_ptr,
        edge_attr,
        weight,
        None if distances is None else distances.double(),
        start,
        step,
        width,
        None if edge_weight is None else edge_weight.to(p.dtype),
    )
    return out


def pool(x: Tensor, graph_ptr: Tensor, reduce: str = "mean") -> Tensor:
    """Pool atoms into crystals: (N, F) -> (B, F) by mean, sum, min or max; 0 for a crystal without atoms.

    graph_ptr: (B + 1,) int64. Differentiable. Same bits on every run. Raises ValueError for an unknown `reduce`.
    """
    if reduce not in REDUCTIONS:
        msg = f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}"
        raise ValueError(msg)
    counts = graph_ptr[1:] - graph_ptr[:-1]
    if len(x) == 0:
        return x.new_zeros(len(counts), x.shape[1])
    out = torch.segment_reduce(x, reduce, offsets=graph_ptr, axis=0, unsafe=True)
    return torch.where((counts == 0)[:, None], torch.zeros_like(out), out)


def _use_kernel(tensors: list[Tensor]) -> bool:
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
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
