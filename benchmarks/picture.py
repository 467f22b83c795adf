"""The speed-up picture: one bar per peer and piece of work, logarithmic, written as plain SVG.

Written by hand rather than with a plotting package: the same JSON gives the same bytes on every machine.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from benchmarks.figures import significant

if TYPE_CHECKING:
    from benchmarks.figures import Group

WIDTH, LEFT, RIGHT, ROW, HEAD, TOP, FOOT = 900, 330, 90, 17, 26, 46, 34
FASTER, SLOWER, LIMIT = "#2b6cb0", "#c05621", "#718096"


def draw(groups: list[Group], *, title: str, subtitle: str, threads: int = 1) -> str:
    """SVG text: how many times longer each peer takes than cgfast on the same work."""
    shown = [group for group in groups if group.peers(threads)]
    ratios = [group.ratio(role, threads) or 1.0 for group in shown for role in group.peers(threads)]
    low = min(0.0, math.floor(math.log10(min(ratios, default=1.0))))
    high = max(1.0, math.ceil(math.log10(max(ratios, default=10.0))))

    def x(ratio: float) -> float:
        return LEFT + (math.log10(ratio) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts, y = [], float(TOP)
    for group in shown:
        y += HEAD
        parts.append(text(12, y - 6, group.name, weight="bold"))
        for role in group.peers(threads):
            ratio = group.ratio(role, threads) or 1.0
            start, end = sorted((x(1.0), x(ratio)))
            colour = FASTER if ratio >= 1 else SLOWER
            parts.append(text(LEFT - 8, y + 11, role, anchor="end"))
            parts.append(
                f'<rect x="{start:.1f}" y="{y + 2:.1f}" width="{max(end - start, 1.0):.1f}" '
                f'height="{ROW - 5}" fill="{colour}"/>'
            )
            parts.append(text(end + 5, y + 11, f"{significant(ratio)}×"))
            y += ROW
    height = y + FOOT
    grid = [_tick(10.0**power, x(10.0**power), y) for power in range(int(low), int(high) + 1)]
    head = [text(12, 20, title, size=15, weight="bold"), text(12, 37, subtitle, colour=LIMIT)]
    body = "\n".join([*head, *grid, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _tick(value: float, x: float, bottom: float) -> str:
    line = f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#cbd5e0" '
    line += 'stroke-width="1.5"/>' if value == 1 else 'stroke-dasharray="2 3"/>'
    return line + text(x, bottom + 16, f"{value:g}×", anchor="middle", colour=LIMIT)


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: int = 12,
    weight: str = "normal",
    anchor: str = "start",
    colour: str = "#1a202c",
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(content)}</text>'
    )
