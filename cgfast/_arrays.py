"""Checks of what users hand in as arrays: each gives back the array in its final type, or a ValueError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["any_array", "flags", "floats", "graph_pointers", "integers", "names", "pointers", "refuse", "short", "tensor"]


def refuse(argument: str, came: str, expected: str) -> NoReturn:
    """Raise the ValueError that names an argument, what came and what was expected."""
    message = f"{argument} has {came}: expected {expected}"
    raise ValueError(message)


def short(array: NDArray[Any]) -> str:
    """Values of an array, abbreviated, for a message."""
    return "values " + np.array2string(array, threshold=6, edgeitems=3)


def floats(argument: str, value: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """``value`` as a C-contiguous float64 array of the given shape (None: any length)."""
    array = any_array(argument, value)
    if array.size == 0 and array.ndim == 1 and shape[0] in (None, 0):
        array = array.reshape((0, *[n or 0 for n in shape[1:]])).astype(np.float64)
    if array.dtype.kind not in "fiu":
        refuse(argument, f"type {array.dtype}", "real numbers")
    wanted = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        refuse(argument, f"shape {array.shape}", wanted)
    return np.ascontiguousarray(array, dtype=np.float64)


def integers(argument: str, value: ArrayLike, dtype: type[np.int32 | np.int64]) -> NDArray[Any]:
    """``value`` as a C-contiguous (n,) array of an integer type that holds all of it."""
    array = any_array(argument, value)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)  # np.asarray([]) is float64
    if array.ndim != 1:
        refuse(argument, f"shape {array.shape}", "one dimension")
    if array.dtype.kind not in "iu":
        refuse(argument, f"type {array.dtype}", "integers")
    limits = np.iinfo(dtype)
    if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
        refuse(argument, short(array), f"values that fit {np.dtype(dtype)}")
    return np.ascontiguousarray(array, dtype=dtype)


def graph_pointers(value: ArrayLike | None, n_atoms: int) -> NDArray[np.int64]:
    """(B + 1,) int64 pointers into N atoms; None is one crystal of all of them."""
    ptr = np.array([0, n_atoms], np.int64) if value is None else integers("graph_ptr", value, np.int64)
    if len(ptr) < 1 or ptr[0] != 0 or ptr[-1] != n_atoms or bool(np.any(ptr[1:] < ptr[:-1])):
        refuse("graph_ptr", short(ptr), f"a sequence that starts at 0, never falls and ends at {n_atoms}")
    return ptr


def tensor(value: object) -> Any:  # noqa: ANN401 - torch must not be imported for a type
    """``value`` if it is a torch tensor, else None."""
    return value if type(value).__module__.partition(".")[0] == "torch" else None


def any_array(argument: str, value: ArrayLike) -> NDArray[Any]:
    """``value``, which may be a torch tensor on any device, as whatever array NumPy makes of it."""
    try:
        given = tensor(value)
        if given is None:
            return np.asarray(value)
        plain = given.detach().cpu()
        return np.asarray((plain.double() if plain.is_floating_point() else plain).numpy())  # NumPy has no bfloat16
    except (ValueError, TypeError) as error:
        message = f"{argument} cannot be made an array: {error}"
        raise ValueError(message) from None


def flags(value: ArrayLike, n_crystals: int) -> NDArray[np.bool_]:
    """Periodic flags as (B, 3) bool from one bool, (3,) or (B, 3)."""
    array = any_array("pbc", value)
    if array.dtype.kind not in "biu" and array.size:
        refuse("pbc", f"type {array.dtype}", "bool")
    if not np.isin(array, (0, 1)).all():
        refuse("pbc", short(array), "bool")
    if array.shape not in {(), (3,), (n_crystals, 3)}:
        refuse("pbc", f"shape {array.shape}", f"one bool, (3,) or ({n_crystals}, 3)")
    return np.ascontiguousarray(np.broadcast_to(array.astype(bool), (n_crystals, 3)))


def names(ids: Sequence[str] | NDArray[np.str_] | None, n_crystals: int) -> NDArray[np.str_]:
    """Ids as a fixed-width string array (B,); "0", "1", ... for None."""
    if ids is None:
        return np.arange(n_crystals).astype(np.str_)
    if isinstance(ids, str):
        refuse("ids", "type str", f"a sequence of {n_crystals} strings")
    out = ids if isinstance(ids, np.ndarray) and ids.dtype.kind == "U" else np.array([str(i) for i in ids], np.str_)
    if out.shape != (n_crystals,):
        refuse("ids", f"shape {out.shape}", f"({n_crystals},), one id a crystal")
    return out


def pointers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B + 1,) int64 pointers from B counts."""
    out = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=out[1:])
    return out
