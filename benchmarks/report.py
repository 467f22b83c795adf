"""One command: `python -m benchmarks.report` runs every benchmark and rewrites the table and the picture.

Raw figures go to `benchmarks/results/<machine>.json`, the pictures beside it, the tables into
`benchmarks/README.md` between its two markers. `--render` only redraws from the JSON that is there; what
follows `--` goes to pytest.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import curves, figures, machine, picture, sweep

if TYPE_CHECKING:
    from benchmarks.figures import Figure, Group

HERE = Path(__file__).parent
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Run and render; the exit code is pytest's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--render", action="store_true", help="do not run, redraw from the JSON that is there")
    parser.add_argument("--json", type=Path, default=HERE / "results" / f"{machine.slug()}.json", metavar="FILE")
    parser.add_argument("pytest_arguments", nargs="*", help="passed on to pytest, such as -- -k neighbors")
    chosen = parser.parse_args(arguments)
    code = 0 if chosen.render else run(chosen.json, chosen.pytest_arguments)
    if not chosen.json.exists():
        sys.stderr.write(f"no figures in {chosen.json}: run without --render first\n")
        return code or 1
    render(chosen.json, HERE / "README.md")
    return code


def run(result: Path, pytest_arguments: list[str]) -> int:
    """Run the benchmarks; figures of those that passed are kept even when another failed."""
    result.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "pytest", str(HERE), "-q", "-rs", "--benchmark-disable-gc"]
    command += [f"--benchmark-json={result}", "--benchmark-columns=median,iqr,rounds", *pytest_arguments]
    return subprocess.run(command, cwd=HERE.parent, check=False).returncode


def render(result: Path, readme: Path) -> None:
    """Write the pictures beside `result` and the tables into `readme`."""
    about, groups = figures.load(result)
    shown = [group for group in groups if group.layer is None or group.layer.headline]
    title = "Time on the same work, as a multiple of cgfast's (1 thread)"
    bars, lines = result.with_suffix(".svg"), result.with_name(f"{result.stem}-layers.svg")
    bars.write_text(picture.draw(shown, title=title, subtitle=one_line(about)), encoding="utf-8")
    title = "One CGConv layer, F 64: nanoseconds per edge"
    drawing = curves.draw(groups, about["instruction_sets"], title=title, subtitle=one_line(about))
    if drawing is not None:
        lines.write_text(drawing, encoding="utf-8")
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        message = f"{readme} must hold the markers {BEGIN} and {END}"
        raise ValueError(message)
    tables = markdown(about, groups, f"results/{bars.name}", drawing and f"results/{lines.name}")
    readme.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")


def one_line(about: dict[str, Any]) -> str:
    """The machine in a line."""
    return (
        f"{about['cpu']}, {about['usable_cpus']} CPUs ({about['instruction_sets']}), "
        f"{about['memory_GiB']} GiB, {about['system']}, Python {about['python']}"
    )


def markdown(about: dict[str, Any], groups: list[Group], bars: str, lines: str | None) -> str:
    """Machine, summary, what we lose, the sweep over layers, and one table per piece of other work."""
    packages = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    layers = [group for group in groups if group.layer]
    others = [group for group in groups if not group.layer]
    parts = [
        f"Measured on: {one_line(about)}. {packages}. Load average before the start: {about['load_before']}.",
        f"![speed-up over each peer at one thread]({bars})",
        "### Summary: the fastest peer, fair where there is a fair run",
        summary([group for group in groups if group.layer is None or group.layer.headline]),
        "### Where cgfast is slower",
        losses(groups),
    ]
    if lines:
        parts.append(f"![nanoseconds per edge over the number of edges]({lines})")
    if layers:
        parts.append(sweep.markdown(layers, about["instruction_sets"]))
    parts += [f"### {group.name[:1].upper()}{group.name[1:]}\n\n{table(group)}" for group in others]
    return "\n\n".join(parts)


def summary(groups: list[Group]) -> str:
    """One line per piece of work: our figure, the fastest peer's, the ratio, for every thread count."""
    lines = ["| work | threads | cgfast | fastest peer | ratio |", "| --- | ---: | ---: | ---: | ---: |"]
    for group in groups:
        for threads in group.thread_counts:
            ours, peer = group.find(figures.OURS, threads), group.best_peer(threads)
            if ours is None:
                continue
            theirs = group.find(peer, threads) if peer else None
            shown = f"{theirs.role}: {theirs.text}" if theirs else "-"
            ratio = multiple(group.ratio(peer, threads)) if peer else "-"
            lines.append(f"| {group.name} | {threads} | {ours.text} {ours.unit} | {shown} | {ratio} |")
    return "\n".join(lines)


def losses(groups: list[Group]) -> str:
    """Every contender that beat us, one line per piece of work, thread count and way to call us."""
    lines = []
    for group in groups:
        ways = [role for role in group.roles if role.startswith(figures.OURS)]
        for threads, way in itertools.product(group.thread_counts, ways):
            ratios = {role: group.ratio(role, threads, way) or 1.0 for role in group.peers(threads)}
            faster = [f"{role} takes {ratio:.2g}" for role, ratio in ratios.items() if ratio < 1]
            if faster:
                whose = "cgfast's time" if way == figures.OURS else f"the time of {way}"
                lines.append(f"- {group.name}, {plural(threads)}: {'; '.join(faster)} of {whose}.")
    return "\n".join(lines) or "Nowhere in these measurements."


def table(group: Group) -> str:
    """All contenders at one piece of work; the ratio is their time over cgfast's."""
    counts = group.thread_counts
    head = [f"{plural(n)}, {group.unit} | × cgfast's time" for n in counts]
    lines = [f"| | {' | '.join(head)} | |", f"| --- |{' ---: | ---: |' * len(counts)} --- |"]
    for role in group.roles:
        found = [group.find(role, n) for n in counts]
        columns = [cell for n, figure in zip(counts, found, strict=True) for cell in pair(group, figure, n)]
        lines.append(f"| {role} | {' | '.join(columns)} | {notes([figure for figure in found if figure])} |")
    return "\n".join(lines)


def notes(found: list[Figure]) -> str:
    """What was noted beside the figures: once if it is the same for every thread count."""
    distinct = {figure.note: figure.threads for figure in found if figure.note}
    if len(distinct) < 2:
        return "".join(distinct)
    return "; ".join(f"{plural(threads)}: {note}" for note, threads in distinct.items())


def pair(group: Group, figure: Figure | None, threads: int) -> tuple[str, str]:
    """A figure and its ratio, or two dashes."""
    if figure is None:
        return "-", "-"
    return figure.text, multiple(group.ratio(figure.role, threads))


def multiple(ratio: float | None) -> str:
    """A ratio with two or three digits."""
    return "-" if ratio is None else f"{figures.significant(ratio)}×"


def plural(threads: int) -> str:
    """1 thread, 2 threads."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


if __name__ == "__main__":
    raise SystemExit(main())
