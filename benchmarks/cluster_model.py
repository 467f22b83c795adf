"""What a screening takes on N machines, from measured figures: `python -m benchmarks.cluster_model RAY_SCALING.json`.

The model: rows are divided evenly; each core needs the measured CPU time a crystal, and the share of it that is not the stages'
(the measured rate of one worker against the sum of its stages); storage delivers and takes the measured bytes a row at a given
rate in all; Ray's driver hands out ranges one after the other, at the measured time for each; and at the end one core joins the
parts. The first three run at the same time, so the slowest decides; the join comes after. `--shards` runs are joined by
nobody: each writes a file of its own, side by side.

--into FILE puts the table between the lines <!-- cluster-model --> and <!-- /cluster-model --> of a page.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgfast.screening.ray.engine import range_rows

BEGIN, END = "<!-- cluster-model -->", "<!-- /cluster-model -->"
BATCH_ROWS = 1024
GROUP_ROWS = 32_768  # of the input, as `cgfast convert` and the benchmark write it


@dataclass(frozen=True)
class Measured:
    """Inputs of the model. Seconds of one core, bytes."""

    stages_s: dict[str, float]  # a crystal
    worker_s: float  # a crystal, of a worker with all that it does
    range_s: float
    join_s: float  # a crystal
    start_s: float
    bytes_in: float  # a row
    bytes_out: float

    @classmethod
    def of(cls, found: dict[str, Any]) -> Measured:
        """From the JSON of `benchmarks.ray_scaling`."""
        most = found["ray"]["workers"][max(found["ray"]["workers"], key=int)]
        one = found["ray"]["workers"].get("1", most)
        return cls(
            stages_s={name: value * 1e-6 for name, value in found["stages"]["us_per_crystal"].items()},
            worker_s=1 / one["crystals_per_s"],
            range_s=found["ray"]["range_s"],
            join_s=most["join_s"] / found["rows"],
            start_s=most["until_first_report_s"],
            bytes_in=found["bytes_per_row"]["in"],
            bytes_out=found["bytes_per_row"]["out"],
        )


@dataclass(frozen=True)
class Cluster:
    """Machines, cores of each, bytes/s of the storage in all, price of a core for an hour."""

    nodes: int
    cores: int
    bandwidth: float
    price: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of each resource, as if it were alone."""

    compute: float
    storage: float
    driver: float
    join: float
    start: float

    @property
    def bound(self) -> str:
        """What decides the time."""
        times = {"cores": self.compute, "storage": self.storage, "driver": self.driver}
        slowest = max(times, key=lambda name: times[name])
        return "joining" if self.join > times[slowest] else slowest

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.start + max(self.compute, self.storage, self.driver) + self.join


def estimate(found: Measured, cluster: Cluster, rows: float, *, shards: bool) -> Estimate:
    """The time on a cluster; with shards every core is a job of its own, and nothing is handed out or joined."""
    workers = cluster.nodes * cluster.cores
    ranges = rows / range_rows(int(rows), workers, GROUP_ROWS, BATCH_ROWS)
    # Parts are written and read again, then the output is written; a shard does the same with its own.
    moved = rows * (found.bytes_in + 3 * found.bytes_out)
    return Estimate(
        compute=rows * (found.worker_s + (found.join_s if shards else 0)) / workers,
        storage=moved / cluster.bandwidth,
        driver=0.0 if shards else ranges * found.range_s,
        join=0.0 if shards else rows * found.join_s,
        start=found.start_s,
    )


def table(found: Measured, chosen: argparse.Namespace) -> str:
    """Inputs and estimates, in Markdown."""
    spent = sum(found.stages_s.values())
    parts = ", ".join(f"{name} {value * 1e6:.0f}" for name, value in found.stages_s.items())
    measured = (
        f"Measured: a crystal takes {found.worker_s * 1e6:.0f} µs of a core, of which its stages are {spent * 1e6:.0f} µs "
        f"({parts}); {found.bytes_in:.0f} bytes are read for it and {found.bytes_out:.0f} written; Ray takes "
        f"{found.range_s * 1e3:.1f} ms of the driver for a range of rows, and joining {found.join_s * 1e6:.1f} µs a row."
    )
    assumed = (
        f"Assumed: machines of {chosen.cores} such cores, {chosen.bandwidth:g} GB/s of storage in all, "
        f"{chosen.price:g} for a core and hour."
    )
    rows = f"{chosen.rows:.0e}".replace("e+0", "e")
    lines = [
        f"{measured} {assumed}",
        "",
        f"| {rows} crystals on | predicting | storage | driver | joining | in all | bound by | cost |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for nodes in chosen.nodes:
        cluster = Cluster(nodes, chosen.cores, chosen.bandwidth * 1e9, chosen.price)
        for shards in (False, True):
            one = estimate(found, cluster, chosen.rows, shards=shards)
            name = f"{nodes:,} machine{'s' if nodes > 1 else ''}, {'shards' if shards else 'Ray'}"
            cost = one.seconds / 3600 * nodes * chosen.cores * chosen.price
            times = " | ".join(duration(value) for value in (one.compute, one.storage, one.driver, one.join, one.seconds))
            lines.append(f"| {name} | {times} | {one.bound} | {cost:,.0f} |")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """So that a person can compare: 40 s, 12 min, 5.1 h, 3.2 d."""
    if seconds <= 0:
        return "-"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_model", description=__doc__)
    parser.add_argument("figures", type=Path, help="the JSON of benchmarks.ray_scaling")
    parser.add_argument("--rows", type=float, default=1e9)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--cores", type=int, default=64, help="of a machine")
    parser.add_argument("--bandwidth", type=float, default=5.0, help="GB/s of the storage in all")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    parser.add_argument("--into", type=Path, help="page to put the table into")
    chosen = parser.parse_args(arguments)
    text = table(Measured.of(json.loads(chosen.figures.read_text(encoding="utf-8"))), chosen)
    print(text)
    if chosen.into is not None:
        page = chosen.into.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        chosen.into.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
