"""A training step: ours, ours captured in a CUDA graph, and the same network of PyTorch Geometric's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.gpu import crystals, models, timing

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from benchmarks.gpu.settings import Sizes
    from benchmarks.gpu.timing import Keep

CONVOLUTIONS, F, HEAD = 3, 64, 128
WARM_UP = 3  # steps before one is captured
TOLERANCE = 1e-4


def measure(sizes: Sizes, keep: Keep) -> dict[str, Any]:
    """Seconds and crystals per second of one step: forward, mean squared error, backward, Adam."""
    n = sizes.training_batch
    out: dict[str, Any] = {"crystals": n, "convolutions": CONVOLUTIONS, "relative_error_of_gradients": check(sizes.device)}
    ways: dict[str, Callable[[], Callable[[], Any]]] = {
        "ours": lambda: step(sizes, "CrystalGraphConv"),
        "ours_cgconv": lambda: step(sizes, "CGConv"),
        "pyg": lambda: pyg_step(sizes),
    }
    if sizes.device == "cuda":
        ways |= {
            "ours_captured": lambda: captured(sizes, "CrystalGraphConv"),
            "ours_cgconv_captured": lambda: captured(sizes, "CGConv"),
        }
    for name, make in ways.items():
        seconds = timing.attempt(out, f"{name}_seconds", lambda make=make: timing.busy_seconds(make(), sizes))
        if seconds:
            out[f"{name}_crystals_per_second"] = n / seconds
        keep(out)
    if out.get("pyg_seconds") and out.get("ours_cgconv_seconds"):
        out["pyg_over_ours_cgconv"] = out["pyg_seconds"] / out["ours_cgconv_seconds"]
    return out


def network(conv: str) -> torch.nn.Module:
    import torch

    import cgfast.nn

    torch.manual_seed(0)
    return cgfast.nn.CGCNN(None, 41, F, CONVOLUTIONS, HEAD, 1, basis=cgfast.nn.GaussianBasis(), conv=conv).train()


def check(device: str) -> float:
    """The relative error of all gradients of a small batch, against float64 on the CPU."""
    import torch

    found = []
    for place, dtype in ((device, torch.float32), ("cpu", torch.float64)):
        model, graph = network("CrystalGraphConv").to(place, dtype), models.graph(6, "cpu", seed=3).to(place)
        model(graph).square().sum().backward()
        # Biases before a batch norm have gradients of zero but for rounding.
        found.append(torch.cat([p.grad.flatten().cpu().double() for p in model.parameters() if p.grad is not None]))
    error = crystals.relative_error(*found)
    if not error < TOLERANCE:
        message = f"the gradients are off by {error:.2g}"
        raise AssertionError(message)
    return error


def _step(model: torch.nn.Module, answer: Callable[[], torch.Tensor], n: int, device: str, **adam: bool) -> Callable[[], Any]:
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **adam)
    targets = torch.zeros((n, 1), device=device)

    def call() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(answer(), targets).backward()
        optimizer.step()

    return call


def step(sizes: Sizes, conv: str) -> Callable[[], Any]:
    """Launched one by one."""
    model, graph = network(conv).to(sizes.device), models.graph(sizes.training_batch, sizes.device)
    return _step(model, lambda: model(graph), sizes.training_batch, sizes.device)


def captured(sizes: Sizes, conv: str) -> Callable[[], Any]:
    """The same step, launched at once: for batches of one shape."""
    import torch

    model, graph = network(conv).to(sizes.device), models.graph(sizes.training_batch, sizes.device)
    call = _step(model, lambda: model(graph), sizes.training_batch, sizes.device, capturable=True)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    whole = torch.cuda.CUDAGraph()
    with torch.cuda.graph(whole):
        call()
    return whole.replay


def pyg_step(sizes: Sizes) -> Callable[[], Any]:
    """What a user of PyTorch Geometric writes."""
    import torch
    from torch_geometric.nn import CGConv, global_mean_pool

    import cgfast.nn

    graph = models.graph(sizes.training_batch, sizes.device)
    features = cgfast.nn.GaussianBasis()(graph.distances.float())
    elements = graph.atomic_numbers.long()
    crystal = torch.arange(sizes.training_batch, device=sizes.device).repeat_interleave(models.ATOMS)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(101, F)
            self.convs = torch.nn.ModuleList([CGConv(F, dim=41, batch_norm=True) for _ in range(CONVOLUTIONS)])
            self.head = torch.nn.Sequential(torch.nn.Linear(F, HEAD), torch.nn.Softplus(), torch.nn.Linear(HEAD, 1))

        def forward(self) -> torch.Tensor:
            x = self.embedding(elements)
            for conv in self.convs:
                x = conv(x, graph.edge_index, features)
            out: torch.Tensor = self.head(global_mean_pool(x, crystal, sizes.training_batch))
            return out

    torch.manual_seed(0)
    model = Network().to(sizes.device)
    return _step(model, model, sizes.training_batch, sizes.device)
