"""Structures of any format into one table that everything else reads fast."""

from __future__ import annotations

from cgfast.conversion.run import ConvertResult, FailuresError, convert

__all__ = ["ConvertResult", "FailuresError", "convert"]
