"""`cgfast.compat.pyg`: PyG's layers inside existing models become ours; what works without PyG."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from cgfast.compat.pyg import CGConv, replace_cgconv

pyg = pytest.importorskip("torch_geometric.nn", reason="PyG is the oracle here")

EDGES = torch.tensor([[0, 3, 2, 2, 1, 1, 0, 3, 4], [1, 1, 0, 2, 3, 0, 2, 0, 4]])


def sample(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 5, generator=generator).to(dtype), torch.rand(EDGES.shape[1], 3, generator=generator).to(dtype)


class Network(nn.Module):
    """A model as people write them: a list, a dictionary, a shared layer, one of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 5)
        self.convs = nn.ModuleList([pyg.CGConv(5, 3, batch_norm=True), pyg.CGConv(5, 3, aggr="mean", bias=False)])
        self.by_name = nn.ModuleDict({"largest": pyg.CGConv((5, 5), 3, aggr="max"), "shared": self.convs[0]})
        self.plain = [self.convs[1]]  # torch does not see this one
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for conv in (*self.convs, self.by_name["largest"], self.by_name["shared"], self.plain[0]):
            x = conv(x, edge_index, edge_attr)
        return self.head(x)


def network(dtype: torch.dtype = torch.float64) -> Network:
    torch.manual_seed(0)
    return Network().to(dtype)


def quietly(model: nn.Module) -> nn.Module:
    """Replace, and demand that nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return replace_cgconv(model)


def count(model: nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


# --- replacement ---------------------------------------------------------------------------------------------------------


def test_every_layer_of_a_model(caplog):
    model = network()
    x, edge_attr = sample(torch.float64)
    expected = copy.deepcopy(model)
    text, state = str(model), {name: value.clone() for name, value in model.state_dict().items()}
    objects = [id(t) for t in (*model.parameters(), *model.buffers())]
    with caplog.at_level(logging.INFO, "cgfast"):
        assert quietly(model) is model
    assert caplog.messages == ["3 CGConv layers now run on cgfast, 0 are left to PyG"]
    assert count(model, pyg.CGConv) == 0
    assert count(model, CGConv) == 3
    assert model.by_name["shared"] is model.convs[0]
    assert model.plain[0] is model.convs[1]
    assert objects == [id(t) for t in (*model.parameters(), *model.buffers())]
    assert list(state) == list(model.state_dict())
    assert str(model) == text
    torch.testing.assert_close(model(x, EDGES, edge_attr), expected(x, EDGES, edge_attr))
    for (name, value), other in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(value, other, msg=lambda text, n=name: f"{n}: {text}")  # running statistics, too
    with caplog.at_level(logging.INFO, "cgfast"):
        assert quietly(model) is model
    assert caplog.messages[-1].startswith("0 CGConv layers")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_optimizer_goes_on_along_the_same_curve(dtype):
    x, edge_attr = sample(dtype)
    target = x.sum(1, keepdim=True).sin()

    def losses(replace_after: int) -> list[float]:
        model = network(dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        found = []
        for step in range(20):
            if step == replace_after:
                quietly(model)
            loss = (model(x, EDGES, edge_attr) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    expected = losses(100)
    assert expected[-1] < 0.7 * expected[0]
    for start in (0, 10):
        assert losses(start) == pytest.approx(expected, rel=1e-3 if dtype == torch.float32 else 1e-9)


def test_a_model_that_is_the_layer():
    torch.manual_seed(0)
    conv = pyg.CGConv((4, 5), 3, aggr="mean", batch_norm=True, flow="target_to_source", node_dim=0).double().eval()
    conv.lin_f.weight.requires_grad_(requires_grad=False)
    ours = quietly(conv)
    assert ours is conv
    assert type(ours) is CGConv
    assert not ours.training
    assert not ours.lin_f.weight.requires_grad
    assert ours.lin_s.weight.requires_grad
    assert (ours.channels, ours.dim, ours.aggr, ours.flow, ours.node_dim) == ((4, 5), 3, "mean", "target_to_source", 0)
    assert vars(ours).keys() == vars(CGConv(4)).keys() - {"bn"}  # bn is a module here, an attribute there
    assert list(ours._modules) == ["lin_f", "lin_s", "bn"]
    ours.reset_parameters()
    assert vars(quietly(pyg.CGConv(4))).keys() == vars(CGConv(4)).keys()


def test_copies_of_a_replaced_layer_know_nothing_of_pyg():
    x, edge_attr = sample()
    conv = quietly(pyg.CGConv(5, 3))
    stored = pickle.dumps(conv)
    assert b"torch_geometric" not in stored
    for other in (copy.deepcopy(conv), pickle.loads(stored)):  # noqa: S301
        assert torch.equal(other(x, EDGES, edge_attr), conv(x, EDGES, edge_attr))


def test_sequential_of_pyg():
    torch.manual_seed(0)
    layers = [(pyg.CGConv(5, 3), "x, edge_index, edge_attr -> x"), nn.ReLU(), (pyg.CGConv(5), "x, edge_index -> x")]
    model = pyg.Sequential("x, edge_index, edge_attr", layers)
    x, edge_attr = sample()
    expected = model(x, EDGES, edge_attr)
    quietly(model)
    assert [type(model[0]), type(model[2])] == [CGConv, CGConv]
    torch.testing.assert_close(model(x, EDGES, edge_attr), expected)


def test_hooks_of_torch_stay():
    model = network()
    seen: list[Any] = []
    handle = model.convs[0].register_forward_hook(lambda module, *_: seen.append(type(module)))
    model.convs[0].register_forward_pre_hook(lambda _, args: (2 * args[0], *args[1:]))
    x, edge_attr = sample(torch.float64)
    expected = copy.deepcopy(model)(x, EDGES, edge_attr)
    seen.clear()
    quietly(model)
    torch.testing.assert_close(model(x, EDGES, edge_attr), expected)
    assert seen == [CGConv, CGConv]
    handle.remove()
    model(x, EDGES, edge_attr)
    assert len(seen) == 2


def test_parametrized_weights():
    conv = pyg.CGConv(5, 3).double()
    nn.utils.parametrizations.weight_norm(conv.lin_f, "weight")
    x, edge_attr = sample(torch.float64)
    expected = conv(x, EDGES, edge_attr)
    torch.testing.assert_close(quietly(conv)(x, EDGES, edge_attr), expected)


def test_after_an_explainer():
    explain = pytest.importorskip("torch_geometric.explain")
    conv = pyg.CGConv(5, 3).double()
    x, edge_attr = sample(torch.float64)
    expected = conv(x, EDGES, edge_attr)
    config = {"mode": "regression", "task_level": "node", "return_type": "raw"}
    explainer = explain.Explainer(
        conv, explain.GNNExplainer(2), explanation_type="model", edge_mask_type="object", model_config=config
    )
    explainer(x, EDGES, edge_attr=edge_attr)
    assert "propagate" in vars(conv)
    conv.explain = True
    with pytest.warns(UserWarning, match="leaves to PyG: the model .an explainer is at work."):
        replace_cgconv(conv)
    conv.explain = None
    assert type(quietly(conv)) is CGConv
    assert vars(conv).keys() == vars(CGConv(5)).keys()
    assert list(conv.state_dict()) == list(CGConv(5).state_dict())
    torch.testing.assert_close(conv(x, EDGES, edge_attr), expected)


def test_to_hetero():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = pyg.CGConv((4, 4)), pyg.CGConv((4, 4), aggr="mean")

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x, edge_index).relu(), edge_index)

    model = pyg.to_hetero(Two(), (["a", "b"], [("a", "to", "b"), ("b", "to", "a")]))
    x = {"a": torch.randn(3, 4), "b": torch.randn(2, 4)}
    edges = {("a", "to", "b"): torch.tensor([[0, 2], [1, 0]]), ("b", "to", "a"): torch.tensor([[0, 1], [1, 2]])}
    expected = model(x, edges)
    assert count(quietly(model), CGConv) == 4
    torch.testing.assert_close(model(x, edges), expected)


# --- what is left alone --------------------------------------------------------------------------------------------------


class Doubled(pyg.CGConv):
    """Overrides the message."""

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor, edge_attr: torch.Tensor | None) -> torch.Tensor:
        return 2 * super().message(x_i, x_j, edge_attr)


def broken(kind: str) -> nn.Module:
    """A layer that ours would not reproduce."""
    if kind == "subclass":
        return Doubled(5, 3)
    conv = pyg.CGConv(5, 3, aggr="median" if kind == "aggr" else "add", decomposed_layers=2 if kind == "decomposed" else 1)
    if kind == "message hook":
        conv.register_message_forward_hook(lambda _module, _inputs, output: 2 * output)
    elif kind == "message":
        conv.message = lambda x_i, x_j, edge_attr: x_j + 0 * x_i + 0 * edge_attr.sum()
    elif kind == "propagate":
        original = conv.propagate
        conv.propagate = lambda *args, **keywords: 2 * original(*args, **keywords)
    elif kind == "linear hook":
        conv.lin_s.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    elif kind == "linear":
        conv.lin_f = nn.Sequential(conv.lin_f)
    return conv


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("subclass", "a subclass, Doubled"),
        ("aggr", "aggr must be one of add, sum, mean, max, got 'median'"),
        ("decomposed", "decomposed_layers must be 1"),
        ("message hook", "it has message-passing hooks"),
        ("message", "its message was replaced"),
        ("propagate", "its propagate was replaced"),
        ("linear hook", "its lin_s has hooks"),
        ("linear", "its lin_f is a Sequential"),
    ],
)
def test_layers_that_do_more_are_left_alone(kind, reason):
    model = nn.ModuleDict({"odd": broken(kind), "usual": pyg.CGConv(5, 3)})
    before = type(model["odd"]), dict(vars(model["odd"]))
    with pytest.warns(UserWarning, match=f"replace_cgconv leaves to PyG: odd .{reason}"):
        replace_cgconv(model)
    assert before == (type(model["odd"]), dict(vars(model["odd"])))
    assert type(model["usual"]) is CGConv
    if kind != "decomposed":  # which PyG's own layer cannot run
        assert model["odd"](sample()[0], EDGES, sample()[1]).shape == (6, 5)


def test_only_modules_are_taken():
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module, got list"):
        replace_cgconv([pyg.CGConv(5)])


# --- without PyG ---------------------------------------------------------------------------------------------------------


def test_without_pyg():
    code = (
        "import sys\n"
        "sys.modules['torch_geometric'] = None  # any import of it raises ModuleNotFoundError\n"
        "import torch\n"
        "from cgfast.compat.pyg import CGConv, replace_cgconv\n"
        "print(CGConv(4)(torch.ones(2, 4), torch.tensor([[0], [1]])).shape)\n"
        "for use in (lambda: replace_cgconv(CGConv(4)), lambda: __import__('cgfast.compat.pyg', fromlist=['*'])"
        ".CrystalGraphTransform):\n"
        "    try:\n"
        "        use()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
        "assert not [name for name in sys.modules if name.startswith('torch_geometric.')]\n"
    )
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=120)
    hint = "the package 'torch_geometric' is not installed; run: pip install \"cgfast[pyg]\""
    assert answer.stdout.splitlines() == ["torch.Size([2, 4])", hint, hint], answer.stderr
