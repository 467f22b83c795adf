"""Text files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_outputs(outputs: Mapping[str, tuple[Path | None, tuple[str, ...]]], inputs: Sequence[str]) -> None:
    """Raise ValueError, before any work is done, for files that cannot be what they are meant to be.

    outputs: option -> file (None: not asked for) and the endings that it may have. Refused are other endings, folders, a folder
    above that is not there or cannot be written, one file for two options, and a file among the inputs.
    """
    seen: dict[Path, str] = {}
    for option, (path, suffixes) in outputs.items():
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            msg = f"{option}: {path} ends in {path.suffix or 'nothing'!r}, expected {' or '.join(suffixes)}"
            raise ValueError(msg)
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            reason = "is a folder" if path.is_dir() else f"cannot be written: no such folder, or no permission: {path.parent}"
            msg = f"{option}: {path} {reason}"
            raise ValueError(msg)
        place = path.resolve()
        for name in inputs:
            source = Path(name).resolve()
            if place == source or (source.is_dir() and place.exists() and source in place.parents):
                msg = f"{option}: {path} is among the inputs, and would be overwritten"
                raise ValueError(msg)
        if place in seen:
            msg = f"{option}: {path} is already the file of {seen[place]}"
            raise ValueError(msg)
        seen[place] = option


def write_text(path: Path, text: str) -> Path:
    """Write `text` by atomic rename. Raises ValueError if that is impossible."""
    partial = path.with_name(path.name + ".part")
    try:
        try:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ValueError(msg) from error
    return path
