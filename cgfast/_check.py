"""One line of what `cgfast doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, whether it is well, and what mends it."""

    name: str
    found: str
    ok: bool = True
    advice: str = ""
