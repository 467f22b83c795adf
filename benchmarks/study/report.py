"""Tables and picture of the study, from its JSON:   python -m benchmarks.study.report

Writes `benchmarks/results/<machine>-study.svg`, and the tables between the markers of `docs/study.md`.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import machine

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "study.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
OURS, PLAIN = "cgfast", "plain PyTorch"


def table(rows: list[dict[str, Any]], question: str) -> str:
    """Variants of one question: epochs in the given time, and the mean errors over the seeds with their range."""
    lines = ["| variant | epochs | validation MAE | test MAE | test, every seed |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row["name"] for row in rows if row["question"] == question):
        own = [row for row in rows if (row["question"], row["name"]) == (question, name)]
        tests = [row["test"] for row in own]
        epochs, val = statistics.mean(row["epochs"] for row in own), statistics.mean(row["val"] for row in own)
        every = ", ".join(f"{test:.4f}" for test in tests)
        lines.append(f"| {name} | {epochs:.0f} | {val:.4f} | {statistics.mean(tests):.4f} | {every} |")
    return "\n".join(lines)


def finetuning_table(results: dict[str, Any]) -> str:
    """Test errors by the number of training crystals: mean over seeds."""
    rows = results["rows"]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = ["| crystals to train on | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for size in dict.fromkeys(row["size"] for row in rows):
        cells = []
        for way in ways:
            maes = [next(iter(row["metrics"].values()))["mae"] for row in rows if (row["size"], row["way"]) == (size, way)]
            cells.append(f"{statistics.mean(maes):.4f} ({min(maes):.4f} to {max(maes):.4f})")
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def clocks(twins: list[dict[str, Any]]) -> str:
    """What the two clocks say."""
    seconds = {name: statistics.mean(twin["seconds"][-1] for twin in twins if twin["name"] == name) for name in (OURS, PLAIN)}
    tests = {name: [twin["test"] for twin in twins if twin["name"] == name] for name in (OURS, PLAIN)}
    lines = ["| | seconds of training | times | test MAE, every seed |", "|---|---|---|---|"]
    for name in (OURS, PLAIN):
        every = ", ".join(f"{test:.4f}" for test in tests[name])
        lines.append(f"| {name} | {seconds[name]:.0f} | {seconds[name] / seconds[OURS]:.1f} | {every} |")
    return "\n".join(lines)


def draw(results: dict[str, Any], path: Path) -> None:
    """Error against wall time and against epochs (one line a seed), and error against depth."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "cgfast", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (by_time, by_epoch, by_depth) = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True)
    colours = {OURS: "#2b6cb0", PLAIN: "#c05621"}
    for twin in results["twins"]:
        colour, label = colours[twin["name"]], twin["name"] if twin["seed"] == 0 else None
        by_time.plot(twin["seconds"], twin["val"], color=colour, label=label, linewidth=1.3)
        by_epoch.plot(range(1, len(twin["val"]) + 1), twin["val"], color=colour, label=label, linewidth=1.3)
    by_time.set(xscale="log", xlabel="seconds of training", ylabel=f"validation MAE, {results['unit']}", title="by the clock")
    by_epoch.set(xlabel="epoch", title="by the epoch")
    for axes in (by_time, by_epoch):
        axes.legend(frameon=False)
        axes.set_ylim(0, None)
    depths = [row for row in results["rows"] if row["question"] == "depth"]
    layers = [int(row["name"].split()[0]) for row in depths]
    by_depth.plot(layers, [row["test"] for row in depths], "o", color="#2b6cb0", label="test, a point per seed")
    by_depth.plot(layers, [row["val"] for row in depths], "x", color="#718096", label="validation")
    by_depth.set(xlabel="convolutions", title=f"depth, {depths[0]['seconds']:.0f} s of training each")
    by_depth.legend(frameon=False)
    by_depth.set_ylim(0, 1.15 * max(row["test"] for row in depths))
    figure.savefig(path, metadata={"Date": None})


def put(page: str, name: str, text: str) -> str:
    """The page with `text` between the markers of `name`."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        message = f"{PAGE} must hold the markers {begin} and {end}"
        raise ValueError(message)
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    study = json.loads((RESULTS / f"{machine.slug()}-study.json").read_text(encoding="utf-8"))
    tuned = json.loads((RESULTS / f"{machine.slug()}-finetuning.json").read_text(encoding="utf-8"))
    draw(study, RESULTS / f"{machine.slug()}-study.svg")
    page = PAGE.read_text(encoding="utf-8")
    for question in dict.fromkeys(row["question"] for row in study["rows"]):
        page = put(page, question, table(study["rows"], question))
    page = put(put(page, "clocks", clocks(study["twins"])), "finetuning", finetuning_table(tuned))
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
