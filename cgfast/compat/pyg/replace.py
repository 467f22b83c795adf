"""PyG's CGConv inside an existing model becomes ours."""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from cgfast._optional import require
from cgfast.nn.cg_conv import CGConv, check_options

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)
# What PyG's MessagePassing keeps on an instance and our layer has no use for.
_LEFTOVERS = re.compile(
    r"inspector|_(fused_|edge_)?user_args|fuse|_explain|_edge_mask|_loop_mask|_apply_sigmoid|_decomposed_layers|propagate"
)
_MESSAGE_HOOKS = re.compile(r"_(propagate|message|aggregate|message_and_aggregate|edge_update)_forward_(pre_)?hooks")
_METHODS = ("forward", "message", "aggregate", "update")


def replace_cgconv(model: nn.Module) -> nn.Module:
    """Turn every torch_geometric.nn.CGConv in `model` into cgfast's, in place, and return the model.

    The layers remain the same objects under the same names: parameters (so an optimizer that holds them goes on), buffers,
    training flag, device, dtype, requires_grad, torch's module hooks, and modules used in several places. If the model
    itself is a CGConv, it is turned too. A second call changes nothing.

    Left as they are, with one UserWarning that names them and says why: subclasses (they may override message()), layers
    with options that cgfast's does not have, with message-passing hooks, an explainer at work, or methods replaced on the
    instance, and those whose lin_f or lin_s is no plain torch.nn.Linear or has hooks (ours never calls them; parametrizations
    do work). The number of layers that were turned goes to the log (logger "cgfast.compat.pyg.replace", INFO).

    Raises ImportError with the command to install torch_geometric if it is missing, ValueError if `model` is no module.
    """
    original = require("torch_geometric.nn", "pyg").CGConv
    if not isinstance(model, nn.Module):
        msg = f"model must be a torch.nn.Module, got {type(model).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - every bad argument is a ValueError here
    count = 0
    left = []
    for name, module in model.named_modules():
        if isinstance(module, original):
            obstacle = _obstacle(module, original)
            if obstacle is None:
                _turn(module)
                count += 1
            else:
                left.append(f"{name or 'the model'} ({obstacle})")
    _log.info("%d CGConv layers now run on cgfast, %d are left to PyG", count, len(left))
    if left:
        warnings.warn(f"replace_cgconv leaves to PyG: {', '.join(left)}", stacklevel=2)
    return model


def _obstacle(module: Any, original: type) -> str | None:  # noqa: ANN401 - PyG's CGConv
    """Why our layer would not do the same; None if it would."""
    state, kind = vars(module), module.__class__
    if kind is not original:
        return f"a subclass, {kind.__name__}"
    try:
        check_options(module.aggr, module.flow, module.node_dim, module.decomposed_layers)
    except (TypeError, ValueError) as error:
        return str(error)
    if module.explain:
        return "an explainer is at work"
    replaced = [name for name in _METHODS if name in state]
    # An explainer that has been at work leaves PyG's own propagate on the instance.
    own = [getattr(kind, name, None) for name in ("_orig_propagate", "_jinja_propagate")]
    if "propagate" in state and getattr(state["propagate"], "__func__", None) not in own:
        replaced.append("propagate")
    if replaced:
        return f"its {replaced[0]} was replaced"
    if any(hooks for key, hooks in state.items() if _MESSAGE_HOOKS.fullmatch(key)):
        return "it has message-passing hooks"
    for name in ("lin_f", "lin_s"):
        linear = getattr(module, name)
        if type(linear) is not nn.Linear and not (isinstance(linear, nn.Linear) and is_parametrized(linear)):
            return f"its {name} is a {type(linear).__name__}"
        if _has_hooks(vars(linear)):
            return f"its {name} has hooks"
    return None


def _has_hooks(state: Mapping[str, Any]) -> bool:
    return any(state[f"_{kind}_hooks"] for kind in ("forward", "forward_pre", "backward", "backward_pre"))


def _turn(module: Any) -> None:  # noqa: ANN401 - PyG's CGConv
    """Change the class of the object: whoever holds it, in lists or closures too, holds the new layer."""
    state = vars(module)
    for key in [key for key in state if _LEFTOVERS.fullmatch(key) or _MESSAGE_HOOKS.fullmatch(key)]:
        del state[key]
    module._modules.pop("aggr_module", None)  # noqa: SLF001 - it has no parameters
    module._parameters.pop("_edge_mask", None)  # noqa: SLF001 - an explainer's
    module.__class__ = CGConv
    module.decomposed_layers = 1
    module.basis = None
