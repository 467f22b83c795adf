"""From the benchmark JSON to figures: who did what in which time, and the ratio to cgfast."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OURS = "cgfast"


@dataclass(frozen=True, slots=True)
class LayerPoint:
    """Which layer, at which size: what the sweep's tables sort by."""

    model: str
    work: str  # forward, or forward + backward
    edges: int
    atoms: int
    channels: int
    dtype: str
    core: bool  # of the grid, not one of the single lines beyond it
    headline: bool  # also in the summary and the picture of ratios


@dataclass(frozen=True, slots=True)
class Figure:
    """One contender at one piece of work."""

    group: str
    role: str
    threads: int
    items: int
    unit: str
    seconds: float  # median of one run
    note: str = ""
    layer: LayerPoint | None = None
    peak_MB: float | None = None  # noqa: N815 - a unit

    @property
    def seconds_per_item(self) -> float:
        return self.seconds / self.items

    @property
    def text(self) -> str:
        """The figure in its unit: a rate, or nanoseconds per item."""
        if self.unit.startswith("ns/"):
            return significant(self.seconds_per_item * 1e9)
        return significant(1.0 / self.seconds_per_item)


@dataclass(frozen=True, slots=True)
class Group:
    """One piece of work: every contender, for every thread count."""

    name: str
    figures: tuple[Figure, ...]

    @property
    def unit(self) -> str:
        return self.figures[0].unit

    @property
    def layer(self) -> LayerPoint | None:
        """Its place in the sweep over layers, if it has one."""
        return self.figures[0].layer

    @property
    def roles(self) -> list[str]:
        return list(dict.fromkeys(figure.role for figure in self.figures))

    @property
    def thread_counts(self) -> list[int]:
        return sorted({figure.threads for figure in self.figures})

    def find(self, role: str, threads: int) -> Figure | None:
        matches = [f for f in self.figures if (f.role, f.threads) == (role, threads)]
        return matches[0] if matches else None

    def ratio(self, role: str, threads: int, base: str = OURS) -> float | None:
        """Time per item of `role` over that of cgfast (or another `base`): above 1, cgfast is faster."""
        theirs, ours = self.find(role, threads), self.find(base, threads)
        return theirs.seconds_per_item / ours.seconds_per_item if theirs and ours else None

    def peers(self, threads: int) -> list[str]:
        """Contenders that are not ours, as run and fair."""
        return [role for role in self.roles if not role.startswith(OURS) and self.find(role, threads)]

    def best_peer(self, threads: int) -> str | None:
        """The fastest peer, which is also the fair one where a peer ran twice."""
        return min(self.peers(threads), key=lambda role: self.ratio(role, threads) or 0.0, default=None)


def significant(value: float) -> str:
    """Three significant digits, thousands separated."""
    if value >= 100:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def load(path: Path) -> tuple[dict[str, Any], list[Group]]:
    """The machine, and the groups in the order they ran."""
    content = json.loads(path.read_text(encoding="utf-8"))
    groups: dict[str, list[Figure]] = {}
    for entry in content["benchmarks"]:
        info = entry["extra_info"]
        figure = Figure(
            info["group"],
            info["role"],
            info["threads"],
            info["items"],
            info["unit"],
            entry["stats"]["median"],
            info.get("note", ""),
            LayerPoint(**info["layer"]) if "layer" in info else None,
            info.get("peak_MB"),
        )
        groups.setdefault(figure.group, []).append(figure)
    return content["machine_info"], [Group(name, tuple(figures)) for name, figures in groups.items()]
