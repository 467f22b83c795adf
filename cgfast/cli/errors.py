"""One sentence for what went wrong, not a traceback."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_INPUT = 2
UNEXPECTED = 3
INTERRUPTED = 130


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _notes(error: BaseException) -> str:
    """What else the user should know, a line each: what an interrupted run has kept."""
    return "".join(f"\nnote: {note}" for note in getattr(error, "__notes__", ()))


def _fail(text: str, code: int) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(code)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn exceptions into one line on stderr and an exit code; with CGFAST_DEBUG=1 let them through."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt as error:
        raise _fail(str(error) or "interrupted; no output was written", INTERRUPTED) from None
    except Exception as error:
        if os.environ.get("CGFAST_DEBUG") == "1":
            raise
        # ImportError: a package that is not installed; the message says how to install it.
        if isinstance(error, ValueError | OSError | ImportError):
            text = f"error: {_one_line(error)}{_notes(error)}"
            raise _fail(text, BAD_INPUT) from None
        text = f"unexpected error: {type(error).__name__}: {_one_line(error)} (run again with CGFAST_DEBUG=1 for the traceback)"
        text += _notes(error)
        raise _fail(text, UNEXPECTED) from None
