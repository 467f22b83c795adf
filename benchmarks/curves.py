"""The picture of the sweep: ns per edge over the number of edges, a line per contender, as plain SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import sweep
from benchmarks.figures import OURS, significant
from benchmarks.picture import LIMIT, WIDTH, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.figures import Group

MODEL, CHANNELS, THREADS = "CGConv", 64, (1, 2)
WORKS = ("forward", sweep.STEP)
TOP, PANEL, GAP, LEFT, LEGEND = 58, 260, 56, 56, 22
PANEL_WIDTH = (WIDTH - 2 * LEFT - 24) / 2
BOUND = "limit of the processor"
COLOURS = ("#2b6cb0", "#63b3ed", "#c05621", "#dd9b3c", "#805ad5", "#718096", "#b83280", "#4a5568")


class Axis(NamedTuple):
    """A logarithmic axis: values from 10**low to 10**high on pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Powers of ten inside."""
        for power in range(math.ceil(self.low), math.floor(self.high) + 1):
            yield 10.0**power


Curve = list[tuple[int, float]]  # edges, ns per edge


def draw(groups: Sequence[Group], instruction_sets: str, *, title: str, subtitle: str) -> str | None:
    """SVG text, or None if the sweep was not run."""
    panels = {(work, n): curves_of(groups, work, n, instruction_sets) for work in WORKS for n in THREADS}
    points = [pair for curves in panels.values() for curve in curves.values() for pair in curve]
    if len({edges for edges, _ in points}) < 2:
        return None
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves if name != BOUND))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)} | {BOUND: "#2f855a"}
    edges, values = zip(*points, strict=True)
    x_range = (math.log10(min(edges)) - 0.15, math.log10(max(edges)) + 0.15)
    y_range = (math.floor(math.log10(min(values)) * 4) / 4, math.ceil(math.log10(max(values)) * 4) / 4)
    parts = [text(12, 20, title, size=15, weight="bold"), text(12, 37, subtitle, colour=LIMIT)]
    for (work, threads), curves in panels.items():
        left = LEFT + THREADS.index(threads) * (PANEL_WIDTH + LEFT + 12)
        top = TOP + 18 + WORKS.index(work) * (PANEL + GAP)
        x, y = Axis(*x_range, left, left + PANEL_WIDTH), Axis(*y_range, top + PANEL, top)
        parts.append(text(left, top - 8, f"{work}, {threads} thread{'s' if threads > 1 else ''}", weight="bold"))
        parts += frame(x, y)
        for name, curve in curves.items():
            parts += line(curve, x, y, colours[name], name)
    bottom = TOP + 18 + 2 * (PANEL + GAP)
    parts += legend(colours, bottom)
    height = bottom + LEGEND * math.ceil(len(colours) / 3) + 8
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def curves_of(groups: Sequence[Group], work: str, threads: int, instruction_sets: str) -> dict[str, Curve]:
    """Every contender's times over the number of edges, and the limit."""
    curves: dict[str, Curve] = {}
    for group in groups:
        layer = group.layer
        if layer is None or (layer.model, layer.channels, layer.dtype, layer.work) != (MODEL, CHANNELS, "float32", work):
            continue
        for role in group.roles:
            figure = group.find(role, threads)
            if figure is not None:
                curves.setdefault(role, []).append((layer.edges, figure.seconds_per_item * 1e9))
        best = sweep.limit(layer, threads, instruction_sets)
        if best is not None and group.find(OURS, threads) is not None:
            curves.setdefault(BOUND, []).append((layer.edges, best))
    return {name: sorted(curve) for name, curve in curves.items()}


def frame(x: Axis, y: Axis) -> list[str]:
    """Grid and numbers of a panel."""
    parts = []
    for value in x.ticks():
        parts.append(_rule(x(value), y.end, x(value), y.start))
        parts.append(text(x(value), y.start + 16, f"{value:,.0f}", anchor="middle", colour=LIMIT))
    for value in y.ticks():
        parts.append(_rule(x.start, y(value), x.end, y(value)))
        parts.append(text(x.start - 6, y(value) + 4, f"{value:,.0f}", anchor="end", colour=LIMIT))
    parts.append(text(x.end, y.start + 30, "edges", anchor="end", colour=LIMIT))
    return parts


def line(curve: Curve, x: Axis, y: Axis, colour: str, name: str) -> list[str]:
    """A curve with its points; ours also with its numbers."""
    pixels = [(x(edges), y(value)) for edges, value in curve]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in pixels)
    dashes = ' stroke-dasharray="5 4"' if name == BOUND else ""
    width = 2.5 if name == OURS else 1.5
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>']
    if name == BOUND:
        return parts
    parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{width + 0.5}" fill="{colour}"/>' for a, b in pixels]
    if name == OURS:
        for (a, b), (_, value) in zip(pixels, curve, strict=True):
            parts.append(text(a, b + 16, significant(value), anchor="middle", colour=colour, size=11))
    return parts


def legend(colours: dict[str, str], top: float) -> list[str]:
    """Three names a row."""
    parts = []
    for number, (name, colour) in enumerate(colours.items()):
        left, y = 24 + number % 3 * (WIDTH - 40) / 3, top + 6 + number // 3 * LEGEND
        dashes = ' stroke-dasharray="5 4"' if name == BOUND else ""
        parts.append(
            f'<line x1="{left:.0f}" y1="{y}" x2="{left + 26:.0f}" y2="{y}" stroke="{colour}" stroke-width="2.5"{dashes}/>'
        )
        parts.append(text(left + 34, y + 4, name))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e2e8f0"/>'
