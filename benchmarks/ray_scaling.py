"""The Ray engine on the cores there are: `python -m benchmarks.ray_scaling --json benchmarks/results/ray-scaling.json`.

Screens one Parquet file alone and with 1, 2, ... Ray workers of one thread, checks that all outputs are the same bytes, and
measures what `benchmarks.cluster_model` needs: CPU time of each stage, bytes a row read and written, what Ray takes for a range
of rows, and what the driver takes to join the parts. On a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from benchmarks import machine, million

NOTHING = 400  # ranges without work, for the time that Ray itself takes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_scaling", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=20_000, help="rows for the time of each stage by itself")
    parser.add_argument("--workers", type=int, nargs="+", default=list(range(1, machine.usable_cpus() + 1)))
    parser.add_argument("--model", default="formation-energy-per-atom")
    parser.add_argument("--folder", type=Path, default=Path(gettempdir()) / "cgfast-million")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    source = chosen.folder / f"mp-{chosen.rows}.parquet"
    if not source.exists():
        million.write(source, million.mp_crystals(chosen.rows))
    stages = million.breakdown(source, chosen.folder / "sample.parquet", chosen.model, min(chosen.sample, chosen.rows))
    alone = screen(source, chosen.folder / "alone.parquet", chosen.model, threads=1)
    found: dict[str, Any] = {
        "rows": chosen.rows,
        "model": chosen.model,
        "stages": stages,
        "bytes_per_row": {"in": source.stat().st_size / chosen.rows, "out": alone.pop("bytes") / chosen.rows},
        "alone": alone,
        "ray": on_ray(source, chosen.folder, chosen.model, chosen.workers),
        "machine": machine.describe(),
    }
    print(table(found))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def screen(source: Path, out: Path, model: str, **options: Any) -> dict[str, Any]:
    """One run: seconds in all, until the last row was predicted, and after that; rows/s between its first and last report."""
    import cgfast

    for left in out.parent.glob(f"{out.stem}*"):
        left.unlink()
    reports: list[tuple[float, int]] = []
    begin = time.perf_counter()

    def report(now: cgfast.screening.Progress) -> None:
        reports.append((time.perf_counter(), now.rows))

    result = cgfast.screen(source, model, out=out, restart=True, on_progress=report, **options)
    end = time.perf_counter()
    (first, first_rows), (last, last_rows) = reports[0], reports[-1]
    assert result.n_rows == last_rows == result.n_predictions + result.n_failures
    return {
        "wall_s": end - begin,
        "until_first_report_s": first - begin,
        "join_s": end - last,
        "crystals_per_s": (last_rows - first_rows) / (last - first),
        "bytes": out.stat().st_size,
    }


def on_ray(source: Path, folder: Path, model: str, workers: list[int]) -> dict[str, Any]:
    """Runs with so many workers each, in one cluster of as many cores; and Ray's own time for a range."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    expected = (folder / "alone.parquet").read_bytes()
    begin = time.perf_counter()
    ray.init(num_cpus=max(workers), log_to_driver=False, logging_level="error")
    try:
        found: dict[str, Any] = {"version": ray.__version__, "start_s": time.perf_counter() - begin, "workers": {}}
        found["range_s"] = range_seconds(ray)
        for count in workers:
            out = folder / f"workers-{count}.parquet"
            run = screen(source, out, model, engine="ray", num_workers=count, threads=1)
            assert out.read_bytes() == expected
            found["workers"][count] = run
    finally:
        ray.shutdown()
    return found


class Nothing:
    """An actor for whom a range is no work."""

    def __call__(self, batch: Any) -> Any:
        return batch


def range_seconds(ray: Any) -> float:
    """Seconds of the driver for one range, from the difference of many and few of them."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    def seconds(count: int) -> float:
        items = ray.data.from_items([{"first": k} for k in range(count)], override_num_blocks=count)
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=1, max_tasks_in_flight_per_actor=2)
        answers = items.map_batches(Nothing, batch_size=1, batch_format="pyarrow", compute=pool, num_cpus=1)
        begin = time.perf_counter()
        assert sum(batch.num_rows for batch in answers.iter_batches(batch_size=1, batch_format="pyarrow")) == count
        return time.perf_counter() - begin

    few = NOTHING // 8
    return (seconds(NOTHING) - seconds(few)) / (NOTHING - few)


def table(found: dict[str, Any]) -> str:
    """The figures for people, in Markdown."""
    ray, alone = found["ray"], found["alone"]
    about = f"{found['rows']:,} crystals of {found['stages']['atoms']:.1f} atoms, {found['model']}, Ray {ray['version']}"
    lines = [
        f"{about}; Ray starts in {ray['start_s']:.1f} s and takes {ray['range_s'] * 1e3:.1f} ms for a range of rows",
        "",
        "| workers | crystals/s | against no Ray | until the first range, s | joining, s |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| no Ray | {alone['crystals_per_s']:,.0f} | 1.00 | {alone['until_first_report_s']:.1f} | {alone['join_s']:.1f} |",
    ]
    for count, run in ray["workers"].items():
        ratio = run["crystals_per_s"] / alone["crystals_per_s"]
        times = f"{run['until_first_report_s']:.1f} | {run['join_s']:.1f}"
        lines.append(f"| {count} | {run['crystals_per_s']:,.0f} | {ratio:.2f} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
