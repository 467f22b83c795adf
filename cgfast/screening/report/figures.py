"""The figures of a screening report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.pages.figures import COLOURS, Figure, add_bins, add_line, new_figure, plain, with_unit

if TYPE_CHECKING:
    from cgfast.screening.report.collect import Column
    from cgfast.screening.report.distribution import Bins, Summary
    from cgfast.screening.report.throughput import Throughput

# Seconds up to which a unit of time is used, seconds in it, and its name.
_TIMES = ((180.0, 1.0, "s"), (10800.0, 60.0, "min"), (float("inf"), 3600.0, "h"))


def distribution_figure(column: Column, summary: Summary, bins: Bins) -> Figure:
    """How many crystals have which value."""
    title = column.property or column.name
    figure = new_figure(plain(title), with_unit(plain(column.name), plain(column.unit)), "crystals")
    add_bins(figure, bins.counts, bins.edges, "crystals", hovertemplate="%{x:.4g}: %{y:,} crystals<extra></extra>")
    if summary.n:
        line = {"color": COLOURS[1], "width": 1.5, "dash": "dot"}
        figure.add_vline(x=summary.median, line=line)
    # Without a fixed range bars of one crystal in a million could not be told from none.
    figure.update_xaxes(range=[float(bins.edges[0]), float(bins.edges[-1])])
    return figure


def throughput_figure(throughput: Throughput) -> Figure | None:
    """Crystals per second over time; None where the job was too short to say."""
    edges, rates = throughput.rates()
    if not len(rates):
        return None
    _, seconds, unit = next(time for time in _TIMES if edges[-1] <= time[0])
    figure = new_figure("", f"time ({unit})", "rows per second")
    times = edges / seconds
    # A step per interval: both its ends have its rate.
    x, y = np.repeat(times, 2)[1:-1], np.repeat(rates, 2)
    hover = f"%{{x:.3g}} {unit}: %{{y:,.0f}} rows/s<extra></extra>"
    add_line(figure, x, y, "rows per second", fill="tozeroy", line={"width": 1.5}, hovertemplate=hover)
    figure.update_yaxes(rangemode="tozero")
    return figure
