"""What the ops require of their tensors, checked before a kernel or a twin sees them. Every refusal is a ValueError that
names the argument, what came and what was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = (torch.float32, torch.float64)


def check_tensor(
    tensor: Tensor, name: str, dtype: torch.dtype | tuple[torch.dtype, ...], shape: tuple[int | None, ...], device: torch.device
) -> None:
    """Refuse a tensor of another dtype, shape (None: any length) or device."""
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,)
    fits = tensor.dim() == len(shape) and all(
        want is None or want == have for want, have in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype not in dtypes or not fits or tensor.device != device:
        wanted = tuple("any" if n is None else int(n) for n in shape)
        msg = (
            f"{name} must be a {' or '.join(map(str, dtypes))} tensor of shape {wanted} on {device}, got {tensor.dtype} of "
            f"shape {tuple(tensor.shape)} on {tensor.device}"
        )
        raise ValueError(msg)


def check_message(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    edge_attr: Tensor | None,
    weight: Tensor | None,
    distances: Tensor | None,
    edge_weight: Tensor | None,
) -> None:
    """The arguments of gated_message: dtypes, shapes, devices and which go together. Looks at no values."""
    if p.dtype not in FLOATS:
        msg = f"p must be float32 or float64, got {p.dtype}"
        raise ValueError(msg)
    if p.dim() != 2 or p.shape[1] % 2:
        msg = f"p must have shape (N, 2F), got {tuple(p.shape)}"
        raise ValueError(msg)
    n_rows, channels = p.shape
    check_tensor(q, "q", p.dtype, (None, channels), p.device)
    check_tensor(source, "source", torch.int64, (None,), p.device)
    check_tensor(row_ptr, "row_ptr", torch.int64, (n_rows + 1,), p.device)
    n_edges = source.shape[0]
    if weight is None and (edge_attr is not None or distances is not None):
        msg = "weight must come with edge_attr or distances, got None"
        raise ValueError(msg)
    if weight is not None:
        if (edge_attr is None) == (distances is None):
            msg = f"weight needs exactly one of edge_attr and distances, got {'none' if edge_attr is None else 'both'}"
            raise ValueError(msg)
        check_tensor(weight, "weight", p.dtype, (None, channels), p.device)
        if edge_attr is not None:
            check_tensor(edge_attr, "edge_attr", p.dtype, (n_edges, weight.shape[0]), p.device)
    if distances is not None:
        check_tensor(distances, "distances", FLOATS, (n_edges,), p.device)
    if edge_weight is not None:
        check_tensor(edge_weight, "edge_weight", FLOATS, (n_edges,), p.device)


def check_indices(source: Tensor, row_ptr: Tensor, n_sources: int) -> None:
    """The values of source and row_ptr (the kernels check them natively). Skipped while torch traces a graph."""
    if torch.compiler.is_compiling():
        return
    check_pointers(row_ptr, "row_ptr", len(source), "edges")
    if len(source) and (int(source.min()) < 0 or int(source.max()) >= n_sources):
        msg = f"source must lie in [0, {n_sources}), got values from {int(source.min())} to {int(source.max())}"
        raise ValueError(msg)


def check_pointers(pointers: Tensor, name: str, total: int, what: str) -> None:
    """Pointers begin with 0, never decrease and end with the total. Skipped while torch traces a graph."""
    if torch.compiler.is_compiling():
        return
    if len(pointers) == 0 or int(pointers[0]) != 0:
        msg = f"{name} must begin with 0, got {pointers[:3].tolist()}"
        raise ValueError(msg)
    if int(pointers[-1]) != total:
        msg = f"{name} must end with the number of {what} ({total}), got {int(pointers[-1])}"
        raise ValueError(msg)
    if bool((pointers[1:] < pointers[:-1]).any()):
        msg = f"{name} must not decrease, got {pointers.tolist() if len(pointers) < 20 else pointers}"
        raise ValueError(msg)
