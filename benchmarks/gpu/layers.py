"""One convolution: our kernel and our layer, PyTorch Geometric's layer eager and compiled, and what the device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.gpu import crystals, timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from benchmarks.gpu.settings import Sizes
    from benchmarks.gpu.timing import Keep
    from cgfast.graph import CrystalGraph

F, K = 64, 41
TOLERANCE = 2e-5  # |found - right| / |right| in float32
CHECKED_EDGES = 4800
Step = "Callable[[], tuple[torch.Tensor, ...]]"


def measure(sizes: Sizes, keep: Keep, ceilings: dict[str, Any]) -> dict[str, Any]:
    """One row for each size; figures in ps per edge."""
    found: dict[str, Any] = {"F": F, "K": K, "dtype": "float32", "unit": "ps per edge", "rows": []}
    found["relative_error_of_kernel"] = check(sizes.device)
    for n_edges in sizes.edges:
        found["rows"].append(row(crystals.graph_of(n_edges, sizes.device), sizes, ceilings))
        keep(found)
    return found


def random(n_rows: int, n_columns: int, device: str, seed: int) -> torch.Tensor:
    """Normal numbers, the same on every device."""
    import torch

    return torch.randn((n_rows, n_columns), generator=torch.Generator().manual_seed(seed)).to(device)


def problem(graph: CrystalGraph, device: str, dtype: torch.dtype) -> tuple[list[torch.Tensor], Callable[..., torch.Tensor]]:
    """p, q and weight of the message on distances, and the op on them."""
    import cgfast
    from cgfast import functional

    inputs = [random(n, 2 * F, device, seed).to(dtype) for seed, n in enumerate((graph.n_atoms, graph.n_atoms, K))]
    inputs[2] *= 0.1
    basis = cgfast.nn.GaussianBasis()

    def message(p: torch.Tensor, q: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        edges = {"weight": weight, "distances": graph.distances, "basis": basis}
        return functional.gated_message(p, q, graph.source, graph.row_ptr, **edges)

    return inputs, message


def backward_step(inputs: Sequence[torch.Tensor], op: Callable[..., torch.Tensor]) -> Callable[[], tuple[torch.Tensor, ...]]:
    """A call for the output and the gradients of a fixed function of it, to all inputs."""
    import torch

    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    down: list[torch.Tensor] = []

    def step() -> tuple[torch.Tensor, ...]:
        out = op(*leaves)
        if not down:
            down.append(random(*out.shape, str(out.device), 9).to(out.dtype))
        return (out.detach(), *torch.autograd.grad(out, leaves, down[0]))

    return step


def check(device: str) -> float:
    """The largest relative error of the kernel and its gradients in float32, against the CPU's twin in float64."""
    import torch

    from cgfast import reference

    graph = crystals.graph_of(CHECKED_EDGES, "cpu")
    on_device = graph.to(device)
    inputs, message = problem(on_device, device, torch.float32)
    found = backward_step(inputs, message)()

    def twin(p: torch.Tensor, q: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        import cgfast

        edges = {"weight": weight, "distances": graph.distances, "basis": cgfast.nn.GaussianBasis()}
        return reference.gated_message(p, q, graph.source, graph.row_ptr, **edges)

    right = backward_step([tensor.double().cpu() for tensor in inputs], twin)()
    errors = [crystals.relative_error(ours, theirs) for ours, theirs in zip(found, right, strict=True)]
    if not max(errors) < TOLERANCE:
        message_of_error = f"the kernel is off by {errors} (output, then gradients)"
        raise AssertionError(message_of_error)
    return max(errors)


def row(graph: CrystalGraph, sizes: Sizes, ceilings: dict[str, Any]) -> dict[str, Any]:
    """All contenders on one graph."""
    import torch

    out: dict[str, Any] = {"edges": graph.n_edges, "atoms": graph.n_atoms, "limits": limits(graph, ceilings)}

    def put(name: str, make: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]) -> None:
        """Both ways to run a contender; its inputs go when it is done."""
        try:
            forward, both = make()
            for way, call in (("forward", forward), ("forward_backward", both)):
                timing.attempt(out, f"{name}_{way}", lambda call=call: timing.busy_seconds(call, sizes) / graph.n_edges * 1e12)
        except Exception as error:  # noqa: BLE001 - a peer that is not there, or does not fit
            out[f"{name}_error"] = timing.error_of(error)
        if sizes.device == "cuda":
            torch.cuda.empty_cache()

    put("kernel", lambda: kernel(graph, sizes.device))
    x = random(graph.n_atoms, F, sizes.device, 3)
    put("layer", lambda: layer(graph, x))
    put("pyg_eager", lambda: pyg(graph, x, compiled=False))
    if sizes.device == "cuda":
        put("pyg_compiled", lambda: pyg(graph, x, compiled=True))
    for peer in ("pyg_eager", "pyg_compiled"):
        for way in ("forward", "forward_backward"):
            ours, theirs = out.get(f"layer_{way}"), out.get(f"{peer}_{way}")
            if ours and theirs:
                out[f"{peer}_over_ours_{way}"] = theirs / ours
    return out


def kernel(graph: CrystalGraph, device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The edge kernel alone."""
    import torch

    inputs, message = problem(graph, device, torch.float32)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return message(*inputs)

    return forward, backward_step(inputs, message)


def layer(graph: CrystalGraph, x: torch.Tensor) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Our CGConv on distances."""
    import torch

    import cgfast.nn

    torch.manual_seed(0)
    module, basis = cgfast.nn.CGConv(F, dim=K).to(x.device), cgfast.nn.GaussianBasis()
    return _both(module, x, lambda x: module(x, graph, basis=basis))


def pyg(graph: CrystalGraph, x: torch.Tensor, *, compiled: bool) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """PyTorch Geometric's CGConv with our layer's weights, after a look at whether it answers as ours does."""
    import torch
    from torch_geometric.nn import CGConv

    import cgfast.nn

    torch.manual_seed(0)
    ours, basis = cgfast.nn.CGConv(F, dim=K).to(x.device), cgfast.nn.GaussianBasis()
    module = CGConv(F, dim=K).to(x.device)
    module.load_state_dict(ours.state_dict())
    edge_attr, edge_index = basis(graph.distances.float()), graph.edge_index
    called = torch.compile(module, dynamic=False) if compiled else module
    with torch.inference_mode():
        error = crystals.relative_error(called(x, edge_index, edge_attr), ours(x, graph, basis=basis))
    if not error < TOLERANCE:
        message = f"it and our layer differ by {error:.2g}"
        raise AssertionError(message)
    return _both(module, x, lambda x: called(x, edge_index, edge_attr))


def _both(
    module: torch.nn.Module, x: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch

    parameters = [parameter for _, parameter in sorted(module.named_parameters())]
    down, leaf = random(*x.shape, str(x.device), 9), x.detach().requires_grad_()

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return call(x)

    def both() -> tuple[torch.Tensor, ...]:
        out = call(leaf)
        return (out.detach(), *torch.autograd.grad(out, [leaf, *parameters], down))

    return forward, both


def limits(graph: CrystalGraph, ceilings: dict[str, Any]) -> dict[str, float]:
    """ps per edge that the device's measured ceilings allow the kernel: each byte moved once, each exponential once.

    Forward: source and distance of an edge, and of an atom p, q, the output and row_ptr; four special functions for each
    feature (two exponentials, a quotient, the Gaussians by the way). Backward: the same bytes again with three more rows of an
    atom; nine special functions altogether.
    """
    bandwidth, special = ceilings.get("copy_bytes_per_second"), ceilings.get("sfu_per_second")
    if not bandwidth or not special:
        return {}
    per_atom = (2 * 2 * F + F) * 4 + 8
    per_edge = 16 + per_atom * graph.n_atoms / graph.n_edges
    again = per_edge + (2 * 2 * F + F) * 4 * graph.n_atoms / graph.n_edges
    return {
        "copy_forward": per_edge / bandwidth * 1e12,
        "sfu_forward": 4 * F / special * 1e12,
        "copy_forward_backward": (per_edge + again) / bandwidth * 1e12,
        "sfu_forward_backward": 9 * F / special * 1e12,
    }
