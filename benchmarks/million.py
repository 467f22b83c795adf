"""A million crystals, Parquet to Parquet: `python -m benchmarks.million mp` (or `perovskites`); not part of the report.

`mp` is mp_cgcnn_36k over and over, every copy perturbed; `perovskites` are enumerated ABX3 in 23 volumes. The input is made
once, the same on every machine, and stays in --folder. Then a process of its own screens it, and the parent prints crystals per
second (with all start-up), peak memory, and where the time went: each stage's CPU time is measured by itself, on --sample rows,
and held against the whole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.sweep import GHZ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import cgfast
    from cgfast.models import PropertyModel

HERE = Path(__file__).parent
GROUP_ROWS = 32_768
VOLUMES = tuple(np.linspace(0.89, 1.11, 23).round(3).tolist())
AIMS = {"mp": 8_000, "perovskites": 25_000}  # crystals/s on two cores
NEIGHBOR_CYCLES_PER_ATOM = 640  # k nearest of one atom at the limit, on AVX-512
# The child sees what a user's process would: only cgfast, nothing of the generator or of this module.
CHILD = """
import json, pathlib, sys, time
import cgfast
source, out, model, threads, rows = sys.argv[1:]
begin, cpu = time.perf_counter(), time.process_time()
result = cgfast.screen(source, [model], out=out, threads=int(threads), limit=int(rows))
wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
status = pathlib.Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
counts = {"rows": result.n_rows, "predictions": result.n_predictions, "failures": result.n_failures}
print(json.dumps({**counts, "wall_s": wall, "cpu_s": cpu, "peak_MB": peak}))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("what", choices=sorted(AIMS))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=20_000, help="rows for the time of each stage by itself")
    parser.add_argument("--threads", type=int, default=machine.usable_cpus())
    parser.add_argument("--model", default="formation-energy-per-atom")
    parser.add_argument("--folder", type=Path, default=Path(gettempdir()) / "cgfast-million")
    parser.add_argument("--json", type=Path, help="where to keep the figures, such as benchmarks/results/million-mp.json")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    source = chosen.folder / f"{chosen.what}-{chosen.rows}.parquet"
    if not source.exists():
        write(source, mp_crystals(chosen.rows) if chosen.what == "mp" else perovskites(chosen.rows))
    figures = run(source, chosen.folder / f"{chosen.what}-predictions.parquet", chosen.model, chosen.threads, chosen.rows)
    stages = breakdown(source, chosen.folder / "sample.parquet", chosen.model, min(chosen.sample, chosen.rows))
    about = {"what": chosen.what, "aim_crystals_per_s": AIMS[chosen.what], "model": chosen.model, "threads": chosen.threads}
    everything = {**about, **figures, "stages": stages, "machine": machine.describe()}
    print(table(everything))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return 0


def mp_crystals(rows: int) -> Iterator[cgfast.Crystals]:
    """Copies of mp_cgcnn_36k: atoms moved by 0.02 Å and axes stretched by 1 % at random, with a seed for each copy."""
    from benchmarks import data
    from cgfast import Crystals, io

    path = data.parquet_path("mp_cgcnn_36k")
    done = copy = 0
    while done < rows:
        random = np.random.default_rng(copy)
        for crystals in io.read(path, batch_rows=8192):
            part = crystals[: rows - done]
            stretch = 1 + random.normal(0, 0.01, (len(part), 3, 1))
            cell = part.cell * stretch
            owner = np.repeat(np.arange(len(part)), np.diff(part.graph_ptr))
            fractional = np.linalg.solve(part.cell.transpose(0, 2, 1)[owner], part.positions[:, :, None])[:, :, 0]
            moved = np.einsum("ni,nij->nj", fractional, cell[owner]) + random.normal(0, 0.02, part.positions.shape)
            ids = np.array([f"{name}-{copy}" for name in part.ids.tolist()])
            yield Crystals.from_arrays(moved, cell, part.atomic_numbers, pbc=part.pbc, graph_ptr=part.graph_ptr, ids=ids)
            done += len(part)
            if done >= rows:
                return
        copy += 1


def perovskites(rows: int) -> Iterator[cgfast.Crystals]:
    """The first rows of all ABX3 of metals and anions, each in 23 volumes."""
    from cgfast.enumeration import enumerate_crystals

    candidates = enumerate_crystals("perovskite", {"A": "metals", "B": "metals", "X": "anions"}, volumes=VOLUMES)
    done = 0
    for batch in candidates.batches():
        part = batch.crystals[: rows - done]
        yield part
        done += len(part)
        if done >= rows:
            return
    message = f"there are {done:,} candidates only: expected --rows of at most that"
    raise ValueError(message)


def write(path: Path, crystals: Iterator[cgfast.Crystals]) -> None:
    """A table of structures, which appears when it is whole."""
    import pyarrow.parquet as pq

    from cgfast.conversion.tables import structure_table

    begin = time.perf_counter()
    partial = path.with_suffix(".part")
    writer = None
    for part in crystals:
        rows = structure_table(part, None)
        writer = writer or pq.ParquetWriter(partial, rows.schema, compression="zstd")
        writer.write_table(rows, row_group_size=GROUP_ROWS)
    assert writer is not None
    writer.close()
    partial.replace(path)
    print(f"made {path}: {path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - begin:.0f} s")


def run(source: Path, out: Path, model: str, threads: int, rows: int) -> dict[str, Any]:
    """What a process of its own measures; the answers are checked: every row is a finite prediction or a failure."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for left in out.parent.glob(f"{out.stem}*"):
        left.unlink()
    command = [sys.executable, "-c", CHILD, str(source), str(out), model, str(threads), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    predictions = pq.read_table(out)
    assert figures["rows"] == rows == figures["predictions"] + figures["failures"]
    assert predictions.num_rows == figures["predictions"]
    assert pc.all(pc.is_finite(predictions.column(1))).as_py()
    assert pc.count_distinct(predictions["id"]).as_py() == predictions.num_rows
    figures["crystals_per_s"] = rows / figures["wall_s"]
    return figures


def breakdown(source: Path, sample: Path, model_name: str, rows: int) -> dict[str, Any]:
    """Microseconds of CPU a crystal of each stage, one thread, and the limits of those that have one."""
    import torch

    import cgfast
    from cgfast import io
    from cgfast.graph import BATCH_ATOMS, build_graphs, split_by_atoms

    torch.set_num_threads(1)
    model = cgfast.load_model(model_name)
    stages: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.process_time()
        answer = work()
        stages[name] = stages.get(name, 0.0) + (time.process_time() - begin) / rows * 1e6
        return answer

    batches = timed("read", lambda: list(io.read(source).batches(0, rows)))
    atoms, values = 0, []
    for batch in batches:
        atoms += batch.crystals.n_atoms
        for part in split_by_atoms(batch.crystals.graph_ptr, BATCH_ATOMS):
            crystals = batch.crystals[part]
            graph = timed("graphs", lambda crystals=crystals: build_graphs(crystals, model.spec, threads=1))
            values.append(timed("model", lambda graph=graph: model.predict_columns(graph)))
    ids = [name for batch in batches for name in batch.crystals.ids.tolist()]
    timed("write", lambda: _write_predictions(sample, ids, np.concatenate(values), model))
    limits = _limits(atoms / rows, model)
    return {"sample_rows": rows, "atoms": atoms / rows, "us_per_crystal": stages, "limit_us_per_crystal": limits}


def _write_predictions(path: Path, ids: list[str], values: np.ndarray, model: PropertyModel) -> None:
    import pyarrow.parquet as pq

    from cgfast.screening.job import prediction_table

    names = [column.name for column in model.columns]
    rows = prediction_table(ids, values, ["ok"] * len(ids), names, None)
    pq.write_table(rows, path, compression="zstd", row_group_size=GROUP_ROWS)


def _limits(atoms: float, model: PropertyModel) -> dict[str, float]:
    """Microseconds a crystal and core: an edge takes 2.1 F clock cycles a layer, an atom F^2/8, twice that without AVX-512."""
    network = model.network
    features, layers = network.embedding.out_features, len(network.convs)
    edges = atoms * (model.spec.max_neighbors or 12)
    slower = 1 if "avx512f" in machine.instruction_sets() else 2
    cycles = layers * (2.1 * features * edges + features**2 / 8 * atoms)
    per_microsecond = GHZ * 1e3 / slower
    return {"graphs": NEIGHBOR_CYCLES_PER_ATOM * atoms / per_microsecond, "model": cycles / per_microsecond}


def table(found: dict[str, Any]) -> str:
    """The figures for people, in Markdown."""
    stages, rows, threads = found["stages"], found["rows"], found["threads"]
    spent, limits = stages["us_per_crystal"], stages["limit_us_per_crystal"]
    whole = found["wall_s"] * threads / rows * 1e6
    busy = found["cpu_s"] / rows * 1e6
    lines = [
        f"{rows:,} {found['what']} crystals ({stages['atoms']:.1f} atoms), {found['model']}, {threads} threads:",
        f"{found['crystals_per_s']:,.0f} crystals/s (aim {found['aim_crystals_per_s']:,}), {found['wall_s']:.1f} s",
        f"peak memory {found['peak_MB']:.0f} MB, {found['failures']:,} failures",
        "",
        "| stage | µs of CPU a crystal | share of the cores' time | limit, µs | measured / limit |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, value in spent.items():
        limit = limits.get(name)
        held = f"{limit:.1f} | {value / limit:.1f}" if limit else "- | -"
        lines.append(f"| {name} | {value:.1f} | {value / whole:.0%} | {held} |")
    other, idle = busy - sum(spent.values()), whole - busy
    lines += [f"| the rest of the work | {other:.1f} | {other / whole:.0%} | - | - |"]
    lines += [f"| idle cores | {idle:.1f} | {idle / whole:.0%} | - | - |"]
    return "\n".join([*lines, f"| all | {whole:.1f} | 100% | - | - |"])


if __name__ == "__main__":
    raise SystemExit(main())
