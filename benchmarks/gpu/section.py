"""One section in this process:   python -m benchmarks.gpu.section NAME OUT.json CEILINGS.json [--dry-run]."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu import layers, models, neighbors, settings, training

if TYPE_CHECKING:
    from benchmarks.gpu import timing


def measure(name: str, sizes: settings.Sizes, keep: timing.Keep, ceilings: dict[str, Any]) -> dict[str, Any]:
    """The figures of a section; `keep` gets what there is of them on the way. Raises what goes wrong before the first."""
    if name == "layers":
        return layers.measure(sizes, keep, ceilings)
    return {"neighbors": neighbors.measure, "models": models.measure, "training": training.measure}[name](sizes, keep)


def main() -> None:
    """Write the figures to OUT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("ceilings", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    ceilings = json.loads(arguments.ceilings.read_text(encoding="utf-8")) if arguments.ceilings.exists() else {}

    def keep(found: dict[str, Any]) -> None:
        part = arguments.out.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(arguments.out)

    keep(measure(arguments.name, settings.sizes(dry=arguments.dry_run), keep, ceilings))


if __name__ == "__main__":
    main()
