"""From a description and tensors to a network: everything is compared before memory is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.nn import CGCNN

MAX_LAYERS = 1000  # more than any network has: a wrong number must not keep us busy
_SHOWN = 3
_COUNTER = "num_batches_tracked"


def build_network(
    table: Tensor,
    state: Mapping[str, Tensor],
    *,
    basis: GaussianBasis,
    architecture: Mapping[str, Any],
    what: str = "the network",
) -> CGCNN:
    """A CGCNN in evaluation mode with these weights and element features.

    table: (n_elements, n_bits). state: its state dict. architecture: CGCNN's arguments. what: says in messages whose
    tensors these are. torch's random state is left alone, and a description that does not fit the tensors costs no memory.

    Raises ValueError naming the tensors that are missing, too many, or of another shape than the architecture says.
    """
    import torch

    from cgfast.nn import CGCNN

    for name in ("n_conv", "n_h"):
        count = architecture.get(name, 1)
        if isinstance(count, int) and count > MAX_LAYERS:
            msg = f"{name} must be at most {MAX_LAYERS}, got {count}"
            raise ValueError(msg)
    with torch.device("meta"):
        network = CGCNN(table, basis=basis, **architecture)
    expected = network.state_dict()
    # torch had no such buffers when the 2018 models were written; nothing but a momentum of None reads them.
    state = {**{name: torch.tensor(0) for name in expected if name.endswith(_COUNTER)}, **state}
    _compare({name: tuple(tensor.shape) for name, tensor in expected.items()}, state, what)
    network.to_empty(device="cpu")
    network.element_features = table.detach().clone().float()
    network.load_state_dict(state)
    return network.eval()


def _compare(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], what: str) -> None:
    missing = [name for name in expected if name not in state]
    extra = sorted(name for name in state if name not in expected)  # files have no order
    if missing or extra:
        texts = [
            f"{label} {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            for label, names in (("lacks", missing), ("has no place for", extra))
            if names
        ]
        msg = f"{what} {' and '.join(texts)}"
        raise ValueError(msg)
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            msg = f"{name} of {what} must have shape {shape}, got {tuple(state[name].shape)}"
            raise ValueError(msg)
