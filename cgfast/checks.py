"""What the ops require of their tensors, checked before a kernel or a twin sees them. Every refusal is a ValueError that
names the argument, what came and what was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = (torch.float32, torch.float64)


def is_autocast(device: torch.device) -> bool:
    """Whether autocast is on for tensors of `device`."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def _has_values(tensor: Tensor) -> bool:
    """Whether the values can be looked at: not while torch traces a graph, and not on the meta device."""
    return not torch.compiler.is_compiling() and tensor.device.type != "meta"


def check_tensor(
    tensor: Tensor, name: str, dtype: torch.dtype | tuple[torch.dtype, ...], shape: tuple[int | None, ...], device: torch.device
) -> None:
    """Refuse a tensor of another dtype, shape (None: any length) or device."""
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,)
    have = tensor.shape
    fits = len(have) == len(shape)
    if fits:
        for want, n in zip(shape, have, strict=True):
            fits = fits and (want is None or want == n)
    if fits and tensor.dtype in dtypes and tensor.device == device:
        return
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
    order: Tensor | None = None,
) -> None:
    """The arguments that the message ops share: dtypes, shapes, devices and which go together. Looks at no values."""
    if p.dtype not in FLOATS:
        msg = f"p must be float32 or float64, got {p.dtype}"
        raise ValueError(msg)
    if p.dim() != 2 or p.shape[1] % 2:
        msg = f"p must have shape (N, 2F), got {tuple(p.shape)}"
        raise ValueError(msg)
    n_rows, channels = p.shape
    check_tensor(q, "q", p.dtype, (None, channels), p.device)
    if weight is None and (edge_attr is not None or distances is not None):
        msg = "weight must come with edge_attr or distances, got None"
        raise ValueError(msg)
    if weight is not None:
        if (edge_attr is None) == (distances is None):
            msg = f"weight needs exactly one of edge_attr and distances, got {'none' if edge_attr is None else 'both'}"
            raise ValueError(msg)
        check_tensor(weight, "weight", p.dtype, (None, channels), p.device)
    n_basis = None if weight is None else weight.shape[0]
    check_edges(source, row_ptr, edge_attr, distances, edge_weight, order, (n_rows, n_basis), p.dtype, p.device)


def check_edges(
    source: Tensor,
    row_ptr: Tensor,
    edge_attr: Tensor | None,
    distances: Tensor | None,
    edge_weight: Tensor | None,
    order: Tensor | None,
    shape: tuple[int, int | None],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Edges and what belongs to them: dtypes, shapes and devices. shape: how many targets and edge features there are."""
    n_rows, n_basis = shape
    check_tensor(source, "source", torch.int64, (None,), device)
    check_tensor(row_ptr, "row_ptr", torch.int64, (n_rows + 1,), device)
    n_edges = source.shape[0]
    if edge_attr is not None:
        check_tensor(edge_attr, "edge_attr", dtype, (n_edges, n_basis), device)
    if distances is not None:
        check_tensor(distances, "distances", FLOATS, (n_edges,), device)
    if edge_weight is not None:
        check_tensor(edge_weight, "edge_weight", FLOATS, (n_edges,), device)
    if order is not None:
        check_tensor(order, "order", torch.int64, (n_edges,), device)


def check_affine(p: Tensor, center: Tensor | None, scale: Tensor | None, shift: Tensor | None) -> None:
    """A change of every channel: center, scale and shift, (2F,) in p's dtype, all or none."""
    given = {"center": center, "scale": scale, "shift": shift}
    missing = [name for name, tensor in given.items() if tensor is None]
    if missing and len(missing) < len(given):
        msg = f"center, scale and shift go together, got no {' and no '.join(missing)}"
        raise ValueError(msg)
    for name, tensor in given.items():
        if tensor is not None:
            check_tensor(tensor, name, p.dtype, (p.shape[1],), p.device)


def check_indices(source: Tensor, row_ptr: Tensor, n_sources: int, order: Tensor | None = None) -> None:
    """The values of source, row_ptr and order (the kernels check them natively). Skipped while torch traces a graph."""
    if not _has_values(row_ptr):
        return
    check_pointers(row_ptr, "row_ptr", len(source), "edges")
    check_range(source, "source", n_sources)
    if order is not None:
        check_range(order, "order", len(source))
        if len(order.unique()) != len(order):
            msg = f"order must hold every edge once, got {len(order.unique())} different values for {len(order)} edges"
            raise ValueError(msg)


def check_range(indices: Tensor, name: str, limit: int) -> None:
    """Indices lie in [0, limit). Skipped while torch traces a graph."""
    if not _has_values(indices) or len(indices) == 0:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= limit:
        msg = f"{name} must lie in [0, {limit}), got values from {low} to {high}"
        raise ValueError(msg)


def check_pointers(pointers: Tensor, name: str, total: int, what: str) -> None:
    """Pointers begin with 0, never decrease and end with the total. Skipped while torch traces a graph."""
    if not _has_values(pointers):
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
