"""Slater's atomic radii: sums of two are bond lengths, in ionic, covalent and metallic crystals alike."""

from __future__ import annotations

import numpy as np

__all__ = ["RADII"]

# J. C. Slater, J. Chem. Phys. 41, 3199 (1964), Å; from 1,200 bonds, which they give within 0.12 Å on average.
_TEXT = (
    "- 0.25 - 1.45 1.05 0.85 0.70 0.65 0.60 0.50 - 1.80 1.50 1.25 1.10 1.00 1.00 1.00 - 2.20 1.80 1.60 1.40 1.35 1.40 1.40 "
    "1.40 1.35 1.35 1.35 1.35 1.30 1.25 1.15 1.15 1.15 - 2.35 2.00 1.80 1.55 1.45 1.45 1.35 1.30 1.35 1.40 1.60 1.55 1.55 "
    "1.45 1.45 1.40 1.40 - 2.60 2.15 1.95 1.85 1.85 1.85 1.85 1.85 1.85 1.80 1.75 1.75 1.75 1.75 1.75 1.75 1.75 1.55 1.45 "
    "1.35 1.35 1.30 1.35 1.35 1.35 1.50 1.90 1.80 1.60 1.90 - - - 2.15 1.95 1.80 1.80 1.75 1.75 1.75 1.75"
)
_SLATER = _TEXT.split()

RADII = np.full(119, np.nan)
"""(119,) Å by atomic number; NaN for noble gases, At, Fr and beyond Am, which have none."""
RADII[: len(_SLATER)] = [np.nan if value == "-" else float(value) for value in _SLATER]
RADII.flags.writeable = False
