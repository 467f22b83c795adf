"""What the study predicts, and where its figures go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import data as shared
from benchmarks import machine

DATA = shared.SHARED / "data" / "mp_cgcnn_elasticity_3k.parquet"
LABEL, UNIT = "log10(bulk_modulus_GPa)", "log10(GPa)"


def save(name: str, **figures: Any) -> None:
    """Write the figures, and what they were measured on, to `benchmarks/results/<machine>-NAME.json`."""
    path = Path(__file__).parents[1] / "results" / f"{machine.slug()}-{name}.json"
    results = {"machine": machine.describe(), "label": LABEL, "unit": UNIT, **figures}
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
