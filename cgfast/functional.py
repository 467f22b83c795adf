"""Functions on tensors: fused where there is a kernel, the reference twin where there is none.

Every function is differentiable in all its floating-point inputs, to any order. The fused kernels give the first
derivatives, and keep nothing of the size of the edges between forward and backward. Derivatives of derivatives
(create_graph=True: training on forces, say), forward-mode ones, vmap and torch.func run the twins of cgfast.reference: right,
with edge tensors of the twins' size and at their speed. Same bits on every run and for every thread count, where kernels run.

The device of the tensors chooses. CUDA kernels run on torch's current stream and never wait for the device, so they may be
captured in CUDA graphs, and they do not refuse values: indices that point outside, a decreasing row_ptr and negative weights
give NaN or unspecified numbers there, never an access outside the tensors (sort_edges() does look, and waits). Products of
atoms and weights are torch's on CUDA.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import torch

from cgfast import ops, reference
from cgfast.checks import check_affine, check_indices, check_message, check_pointers, check_range, check_tensor, is_autocast
from cgfast.ops.edges import Edges, for_reference

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
    order: Tensor | None = None,
    center: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """The CGCNN message, summed over the edges of each target (Xie & Grossman 2018, PRL 120, 145301, Eq. 5).

    out_i = sum over edges e of row i of w_e * sigmoid(gate_e) * softplus(core_e), where
    [gate_e | core_e] = (y_e - center) * scale + shift and y_e = p_i + q_source(e) + (edge term of e) @ weight.

    p: (N, 2F) target part, bias included. q: (M, 2F) source part. source: (E,) int64. row_ptr: (N + 1,) int64. weight:
    (K, 2F) with either edge_attr (E, K) or distances (E,) Å and a GaussianBasis of K centres; none of them: no edge term.
    edge_weight: (E,), default ones. order: (E,) int64, edge e has row order[e] of edge_attr, distances and edge_weight (see
    sort_edges()), default its own. center, scale, shift: (2F,), all or none, as a batch norm applies them. Returns (N, F) in
    p's dtype; float16 and bfloat16 compute in float32. Zeros at both ends of a row of edge_attr cost nothing.

    Raises ValueError, naming the argument, for shapes, dtypes or indices that do not fit. Derivatives and determinism: see
    the module's docstring.
    """
    dtype = p.dtype
    if dtype in _HALF or is_autocast(p.device):
        p, q, edge_attr, weight, edge_weight = (_wide(t) for t in (p, q, edge_attr, weight, edge_weight))
        center, scale, shift = (_wide(t) for t in (center, scale, shift))
    edges = _edges(p, q, source, row_ptr, order, edge_attr, weight, distances, basis, edge_weight)
    if _use_kernel(p):
        return ops.gated_message(*edges, center, scale, shift).to(dtype)
    _check_edges(edges)
    check_affine(p, center, scale, shift)
    positional, keywords = for_reference(edges)
    return reference.gated_message(*positional, **keywords, center=center, scale=scale, shift=shift).to(dtype)


def edge_moments(
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
    order: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance over all edges of y_e = p_i + q_source(e) + (edge term of e) @ weight, each (2F,).

    Each edge counts by its edge_weight. Arguments, errors, derivatives and determinism as gated_message(); float16 and
    bfloat16 give float32. What a batch norm over edges needs, without a tensor of edges. Without edges (or if the weights
    do not sum to something positive) both are NaN.
    """
    if p.dtype in _HALF or is_autocast(p.device):
        p, q, edge_attr, weight, edge_weight = (_wide(t) for t in (p, q, edge_attr, weight, edge_weight))
    edges = _edges(p, q, source, row_ptr, order, edge_attr, weight, distances, basis, edge_weight)
    if _use_kernel(p):
        moments: tuple[Tensor, Tensor] = ops.edge_moments(*edges)
        return moments
    _check_edges(edges)
    positional, keywords = for_reference(edges)
    return reference.edge_moments(*positional, **keywords)


def sort_edges(edge_index: Tensor, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edges in any order to rows by target, by a stable counting sort.

    edge_index: (2, E) int64, rows (source, target). Returns source (E,) by target, row_ptr (n_targets + 1,), and order (E,):
    edge e of the rows is edge order[e] of edge_index. Sorted input is recognised. Raises ValueError for targets outside
    [0, n_targets).
    """
    if _has_kernel(edge_index) and not ops.transforms_active():
        sorted_edges: tuple[Tensor, Tensor, Tensor] = ops.sort_edges(edge_index, n_targets)
        return sorted_edges
    check_tensor(edge_index, "edge_index", torch.int64, (2, None), edge_index.device)
    check_range(edge_index[1], "edge_index's targets", n_targets)
    return reference.sort_edges(edge_index, n_targets)


def edge_distances(
    positions: Tensor, cell: Tensor | None, edge_index: Tensor, shifts: Tensor | None, graph_ptr: Tensor | None = None
) -> Tensor:
    """Lengths of r = positions[source] - positions[target] + shift @ cell, (E,) in positions' dtype, Å.

    positions: (N, 3) Å. cell: (3, 3), or (B, 3, 3) with graph_ptr (B + 1,), rows are lattice vectors; None if nothing is
    periodic. edge_index: (2, E) int64, rows (source, target). shifts: (E, 3) whole numbers, or None for zeros.

    Gradients reach positions and cell, to any order, with the edges held fixed: energies of distances give forces and
    stress. The length of a zero vector has gradient zero. Raises ValueError, naming the argument, for shapes that do not fit.
    """
    _check_geometry(positions, cell, edge_index, shifts, graph_ptr)
    source, target = edge_index[0], edge_index[1]
    vectors = positions.index_select(0, source) - positions.index_select(0, target)
    if cell is not None and shifts is not None:
        steps = shifts.to(positions.dtype)
        if cell.dim() == 2:
            vectors = vectors + steps @ cell
        elif graph_ptr is not None:
            crystal = reference.rows_to_targets(graph_ptr, positions.shape[0]).index_select(0, target)
            vectors = vectors + torch.einsum("ei,eij->ej", steps, cell.index_select(0, crystal))
    squares = (vectors * vectors).sum(1)
    # sqrt has no finite slope at zero: coincident atoms push each other nowhere.
    zero = squares == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, squares)))


def pool(x: Tensor, graph_ptr: Tensor, reduce: str = "mean") -> Tensor:
    """Pool atoms into crystals: (N, F) -> (B, F) by mean, sum, min or max; 0 for a crystal without atoms.

    graph_ptr: (B + 1,) int64. float16 and bfloat16 compute in float32. Differentiable to any order; atoms that tie for an
    extreme share its gradient. Raises ValueError for an unknown `reduce` and a graph_ptr that does not begin with 0, rise and
    end with N. Determinism: see the module's docstring.
    """
    if reduce not in REDUCTIONS:
        msg = f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}"
        raise ValueError(msg)
    if x.dim() != 2:
        msg = f"x must have shape (N, F), got {tuple(x.shape)}"
        raise ValueError(msg)
    wide = x.float() if x.dtype in _HALF else x
    if _use_kernel(wide):
        return ops.pool(wide, graph_ptr, reduce).to(x.dtype)
    check_tensor(graph_ptr, "graph_ptr", torch.int64, (None,), x.device)
    check_pointers(graph_ptr, "graph_ptr", len(x), "atoms")
    return reference.pool(wide, graph_ptr, reduce).to(x.dtype)


def _edges(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    order: Tensor | None,
    edge_attr: Tensor | None,
    weight: Tensor | None,
    distances: Tensor | None,
    basis: GaussianBasis | None,
    edge_weight: Tensor | None,
) -> Edges:
    if (distances is None) != (basis is None):
        msg = "distances and basis go together, got " + ("no distances" if distances is None else "no basis")
        raise ValueError(msg)
    if basis is not None and weight is not None and weight.shape[0] != basis.n_centres:
        msg = f"weight must have one row per centre of the basis ({basis.n_centres}), got {tuple(weight.shape)}"
        raise ValueError(msg)
    start, step, width = (0.0, 1.0, 1.0) if basis is None else (basis.start, basis.step, basis.gaussian_width)
    return Edges(p, q, source, row_ptr, order, edge_attr, weight, distances, start, step, width, edge_weight)


def _check_edges(edges: Edges) -> None:
    e = edges
    check_message(e.p, e.q, e.source, e.row_ptr, e.edge_attr, e.weight, e.distances, e.edge_weight, e.order)
    check_indices(e.source, e.row_ptr, len(e.q), e.order)


def _check_geometry(
    positions: Tensor, cell: Tensor | None, edge_index: Tensor, shifts: Tensor | None, graph_ptr: Tensor | None
) -> None:
    floats, device = (torch.float32, torch.float64), positions.device
    check_tensor(positions, "positions", floats, (None, 3), device)
    check_tensor(edge_index, "edge_index", torch.int64, (2, None), device)
    check_range(edge_index.reshape(-1), "edge_index", positions.shape[0])
    if shifts is not None:
        check_tensor(shifts, "shifts", (torch.int32, torch.int64, *floats), (edge_index.shape[1], 3), device)
    if cell is None:
        if shifts is not None and not torch.compiler.is_compiling() and bool((shifts != 0).any()):
            msg = "cell must be given where shifts are not zero, got None"
            raise ValueError(msg)
        return
    if cell.dim() == 2:
        check_tensor(cell, "cell", positions.dtype, (3, 3), device)
        return
    if graph_ptr is None:
        msg = f"graph_ptr must come with a cell per crystal, got None and a cell of shape {tuple(cell.shape)}"
        raise ValueError(msg)
    check_tensor(graph_ptr, "graph_ptr", torch.int64, (None,), device)
    check_tensor(cell, "cell", positions.dtype, (graph_ptr.shape[0] - 1, 3, 3), device)
    check_pointers(graph_ptr, "graph_ptr", positions.shape[0], "atoms")


def _wide(tensor: Tensor | None) -> Any:  # noqa: ANN401 - None stays None
    return tensor.float() if tensor is not None and tensor.dtype in _HALF else tensor


def _use_kernel(tensor: Tensor) -> bool:
    if ops.transforms_active():
        return False
    if _has_kernel(tensor):
        return True
    if tensor.device.type != "meta":
        _warn_no_kernel(tensor.device.type)
    return False


def _has_kernel(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" or (tensor.is_cuda and ops.cuda_kernels())


@functools.cache
def _warn_no_kernel(device: str) -> None:
    warnings.warn(
        f"cgfast has no kernel for {device} tensors in this build: the slower PyTorch formulas run instead", stacklevel=4
    )
