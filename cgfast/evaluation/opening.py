"""The model that a call asks for, however it is named."""

from __future__ import annotations

import os
from collections.abc import Sized

from cgfast.models import PropertyModel, load_model


def open_model(
    model: str | os.PathLike[str] | PropertyModel, *, atom_init: str | os.PathLike[str] | None, ties: str | None
) -> PropertyModel:
    """`model` (name, path or loaded) on the CPU, with `ties` in place of its own rule, if given.

    Raises ValueError as load_model() does.
    """
    if isinstance(model, str | os.PathLike):
        model = load_model(model, atom_init=atom_init)
    elif not isinstance(model, PropertyModel):
        msg = f"model: got {model!r}, expected a name, a path or a loaded model"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    model = model.to("cpu")
    if ties is None:
        return model
    if ties not in {"canonical", "shell"}:
        msg = f"ties: got {ties!r}, expected 'canonical' or 'shell'"
        raise ValueError(msg)
    return model.with_ties(ties)


def data_name(source: object) -> str:
    """What a source is called in a report."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, list | tuple):
        return ", ".join(map(str, source))
    if isinstance(source, Sized):
        return f"{len(source):,} crystals in memory"
    return type(source).__name__
