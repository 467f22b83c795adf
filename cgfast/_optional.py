"""One way to import packages that are not always installed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]


def require(module: str, extra: str | None = None) -> Any:  # noqa: ANN401 - a module has no useful static type
    """Import ``module`` and return it, or raise one sentence with the command that installs it.

    Args:
        module: Dotted name, for example ``"pymatgen.core"``.
        extra: The extra of cgfast that brings it, for example ``"pymatgen"``; None for a required dependency.

    Raises:
        ImportError: The package is not installed. (A package that is installed and breaks on import raises its own error.)
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # the package is there; something it needs is not, and its own message says what
        name = "cgfast" if extra is None else f"cgfast[{extra}]"
        message = f'the package {package!r} is not installed; run: pip install "{name}"'
        raise ImportError(message, name=package) from None
