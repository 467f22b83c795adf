"""Progress of a job on stderr: a live bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from cgfast.screening import Progress

# A log wants to know that the job lives, not more: seconds until the first line, and between lines.
FIRST_LINE_SECONDS = 10.0
LINE_SECONDS = 30.0


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_left(progress: Progress) -> str | None:
    """Time left as h:mm:ss, or None where the number of rows is not known."""
    rate = progress.crystals_per_second
    if progress.n_rows is None or rate <= 0:
        return None
    return duration(max(progress.n_rows - progress.rows, 0) / rate)


def progress_line(progress: Progress) -> str:
    """Rows, rate, failures and time left in words."""
    of = f" of {progress.n_rows:,}" if progress.n_rows is not None else ""
    left = time_left(progress)
    parts = [
        f"{progress.rows:,}{of} rows",
        f"{progress.crystals_per_second:,.0f} crystals/s",
        f"{progress.failures:,} failures",
    ]
    return ", ".join([*parts, f"{left} left"] if left else parts)


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Give a callback for `screen(on_progress=...)`, live while the context lasts."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _live(console) as callback:
            yield callback
        return
    due = FIRST_LINE_SECONDS

    def callback_line(progress: Progress) -> None:
        nonlocal due
        if progress.seconds >= due:
            due = progress.seconds + LINE_SECONDS
            console.print(progress_line(progress), highlight=False, soft_wrap=True)

    yield callback_line


@contextlib.contextmanager
def _live(console: Console) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # transient: the bar goes when the job is done, the account stays.
    with Bar(BarColumn(bar_width=None), TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def callback(progress: Progress) -> None:
            bar.update(task, completed=progress.rows, total=progress.n_rows, description=progress_line(progress))

        yield callback
