"""Tables of the sweep over layers: ns per edge, ratios, share of what the processor could do, memory, cost of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figures import OURS, significant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.figures import Group, LayerPoint

GHZ = 2.85
STEP = "forward + backward"


def markdown(groups: Sequence[Group], instruction_sets: str) -> str:
    """Everything about layers, each table with its heading."""
    parts: list[str] = []
    models = list(dict.fromkeys(point(group).model for group in groups))
    for model in models:
        own = [group for group in groups if point(group).model == model]
        core = [group for group in own if point(group).core]
        if any(role.startswith(f"{OURS},") for group in core for role in group.roles):
            parts += headline(model, core, instruction_sets)
        parts += memory(model, own)
        for work, channels in dict.fromkeys((point(group).work, point(group).channels) for group in core):
            chosen = [group for group in core if (point(group).work, point(group).channels) == (work, channels)]
            title = f"### {model}, {work}, F {channels}: ns/edge, and the multiple of cgfast's time"
            parts += [title, grid(chosen, instruction_sets)]
        beyond = [group for group in own if not point(group).core]
        if beyond:
            parts += [
                f"### {model} beyond the grid: ns/edge, and the multiple of cgfast's time",
                grid(beyond, instruction_sets),
            ]
        parts += calls(model, core)
    return "\n\n".join(parts)


def point(group: Group) -> LayerPoint:
    """Its place in the sweep."""
    if group.layer is None:
        message = f"{group.name} is not of the sweep"
        raise ValueError(message)
    return group.layer


def limit(layer: LayerPoint, threads: int, instruction_sets: str) -> float | None:
    """Nanoseconds per edge that a perfect kernel would take, from cycle counts; None but for float32 on AVX.

    Clock cycles on AVX-512 with two units, per edge and feature. Forward 2.1: gate 1.25, nine rows of the
    Gaussian's window 9 * 2 / 32, gather and sum 0.28. Backward 3.8: gate and its derivatives 1.25 * 5/4, the
    preactivation again 0.84, nine rows of the weight's gradient through one store unit 9 * 2 / 16, the
    source's gradient likewise 2 / 8. Node products: F * 4F multiplications per atom at 32 a cycle, forward
    once, backward twice. AVX2: half as wide.
    """
    slower = 1 if "avx512f" in instruction_sets else 2 if "avx2" in instruction_sets else None
    if slower is None or layer.dtype != "float32":
        return None
    per_feature, products = (2.1, 1) if layer.work == "forward" else (5.9, 3)
    cycles = per_feature * layer.channels + products * layer.channels**2 / 8 * layer.atoms / layer.edges
    return cycles * slower / GHZ / threads


def share(group: Group, role: str, threads: int, instruction_sets: str) -> str:
    """How much of the limit `role` reaches, in percent."""
    figure, best = group.find(role, threads), limit(point(group), threads, instruction_sets)
    return "-" if figure is None or best is None else f"{100 * best / (figure.seconds_per_item * 1e9):.0f} %"


def headline(model: str, core: Sequence[Group], instruction_sets: str) -> list[str]:
    """Both ways to call our layer against every peer, at the largest size of the grid that we quote."""
    quoted = [group for group in core if point(group).headline]
    largest = max((point(group).edges for group in quoted), default=0)
    quoted = [group for group in quoted if point(group).edges == largest]
    peers = roles_of(quoted, ours=False)
    lines = [row("passes", "threads", "how", "ns/edge", "share of the limit", *peers)]
    lines.append(rule("---", "---:", "---", *["---:"] * (2 + len(peers))))
    for group in quoted:
        for threads in group.thread_counts:
            for way in [role for role in group.roles if role.startswith(OURS)]:
                figure = group.find(way, threads)
                if figure is None:
                    continue
                ratios = (times(group.ratio(role, threads, way)) for role in peers)
                lines.append(
                    row(point(group).work, threads, way, figure.text, share(group, way, threads, instruction_sets), *ratios)
                )
    title = f"### {model}, {largest:,} edges, F 64: the peer's time over that of each way to call ours"
    return [title, "\n".join(lines)] if quoted else []


def grid(groups: Sequence[Group], instruction_sets: str) -> str:
    """One line per size and thread count, one column per contender."""
    others = [role for role in roles_of(groups) if role != OURS]
    single = len({(point(group).channels, point(group).dtype, point(group).work) for group in groups}) == 1
    first = ["edges"] if single else ["edges", "F", "dtype", "passes"]
    lines = [row(*first, "threads", OURS, "share of the limit", *others)]
    lines.append(rule(*["---:"] * len(first), *["---:"] * (3 + len(others))))
    for group in groups:
        layer = point(group)
        size = [f"{layer.edges:,}"] if single else [f"{layer.edges:,}", layer.channels, layer.dtype, layer.work]
        for threads in group.thread_counts:
            ours = group.find(OURS, threads)
            cells = (both(group, role, threads) for role in others)
            reached = share(group, OURS, threads, instruction_sets)
            lines.append(row(*size, threads, ours.text if ours else "-", reached, *cells))
    return "\n".join(lines)


def calls(model: str, core: Sequence[Group]) -> list[str]:
    """Microseconds a call on the smallest graph, where the work of the host is nearly all there is."""
    smallest = min((point(group).edges for group in core), default=0)
    tiny = [group for group in core if point(group).edges == smallest]
    roles = roles_of(tiny)
    lines = [row("passes", "F", "threads", *roles), rule("---", *["---:"] * (2 + len(roles)))]
    for group in tiny:
        for threads in group.thread_counts:
            found = (group.find(role, threads) for role in roles)
            cells = (significant(figure.seconds * 1e6) if figure else "-" for figure in found)
            lines.append(row(point(group).work, point(group).channels, threads, *cells))
    title = f"### {model}, one crystal with {smallest} edges: microseconds per call"
    return [title, "\n".join(lines)] if tiny else []


def memory(model: str, groups: Sequence[Group]) -> list[str]:
    """Peak memory of one step above its inputs."""
    found = [(group, figure) for group in groups for figure in group.figures if figure.peak_MB is not None]
    if not found:
        return []
    base = next((figure.peak_MB for _, figure in found if figure.role == OURS), None)
    lines = [row("", "MB", "× cgfast's"), rule("---", "---:", "---:")]
    for _, figure in found:
        peak = figure.peak_MB or 0.0
        lines.append(row(figure.role, significant(peak), times(peak / base if base else None)))
    layer = point(found[0][0])
    title = f"### {model}, {layer.work}, {layer.edges:,} edges, F {layer.channels}: peak memory above inputs"
    return [title, "\n".join(lines)]


def roles_of(groups: Iterable[Group], *, ours: bool = True) -> list[str]:
    """Contenders in the order they ran."""
    roles = dict.fromkeys(role for group in groups for role in group.roles)
    return [role for role in roles if ours or not role.startswith(OURS)]


def both(group: Group, role: str, threads: int) -> str:
    """A figure with its multiple of cgfast's time."""
    figure = group.find(role, threads)
    return "-" if figure is None else f"{figure.text} ({times(group.ratio(role, threads))})"


def times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{significant(ratio)}×"


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def rule(*cells: str) -> str:
    return row(*cells)
