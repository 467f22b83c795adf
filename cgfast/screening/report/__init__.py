"""A screening job as one HTML file: distributions, the best candidates with their structures, failures, throughput."""

from __future__ import annotations

from cgfast.screening.report.page import Page
from cgfast.screening.report.throughput import Throughput
from cgfast.screening.report.write import write_report

__all__ = ["Page", "Throughput", "write_report"]
