"""Enumeration: candidates by putting elements on the sites of a prototype."""

from __future__ import annotations

from cgfast.enumeration.enumeration import EnumerateResult, Enumeration, enumerate_crystals

__all__ = ["EnumerateResult", "Enumeration", "enumerate_crystals"]
