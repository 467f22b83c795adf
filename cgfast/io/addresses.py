"""Sources that are not files: databases that answer queries, written as text (``optimade:https://...``) or given as a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from cgfast.io.formats import open_source
from cgfast.io.places import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgfast.io.formats import Options, Source

__all__ = ["Query", "open_sources", "query_of"]


class Query(Protocol):
    """What a database is asked for."""

    def open(self, options: Options) -> Source:
        """The source of the answer."""
        ...


def _optimade(text: str) -> Query:
    from cgfast.io.optimade_source import OptimadeQuery

    url, _, rest = text.partition("?")
    given = _arguments(rest, text, ("filter", "page_limit"))
    limit = given.get("page_limit")
    if limit is not None and not limit.isdecimal():
        message = f"page_limit is {limit!r} in {text!r}: expected a positive integer"
        raise ValueError(message)
    return OptimadeQuery(url, given.get("filter", ""), int(limit) if limit else None)


def _materials_project(text: str) -> Query:
    from cgfast.io.materials_project_source import MaterialsProjectQuery, value_of

    return MaterialsProjectQuery({name: value_of(value) for name, value in _arguments(text, text).items()})


_SCHEMES: dict[str, Callable[[str], Query]] = {"optimade": _optimade, "mp": _materials_project}


def query_of(place: object) -> Query | None:
    """The query that this is, or that this text stands for; None for a path.

    Raises:
        ValueError: The text begins like a query and is none.
    """
    if not isinstance(place, str):
        return place if hasattr(place, "open") and not isinstance(place, os.PathLike) else None
    scheme, colon, rest = place.partition(":")
    if colon and scheme in _SCHEMES and not os.path.lexists(place):
        return _SCHEMES[scheme](rest)
    if scheme in {"http", "https"} and rest.startswith("//"):
        message = f"{place!r} is an address: files are not fetched; an OPTIMADE server is named like 'optimade:{place[:60]}'"
        raise ValueError(message)
    return None


def open_sources(source: Any, format: str | None, options: Options) -> list[Source]:  # noqa: A002, ANN401 - the word users expect; judged here
    """The sources of a path, a pattern, a query, or of several of them, in order.

    Raises:
        ValueError: Something is not there, cannot be read, or has no use for an option that was given.
    """
    places: list[Any] = [source]
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | os.PathLike):
        places = source = list(source)
    if not any(query_of(place) is not None for place in places):
        return [open_source(found, options) for found in find(source, format)]
    opened: list[Source] = []
    files: list[Any] = []
    for place in places:
        query = query_of(place)
        if query is None:
            files.append(place)
            continue
        opened += _opened(files, format, options)
        files = []
        if options.columns or format is not None:
            message = f"columns and format are for files, and {_shown(place)} is a query"
            raise ValueError(message)
        opened.append(query.open(options))
    return opened + _opened(files, format, options)


def _opened(files: Sequence[Any], format: str | None, options: Options) -> list[Source]:  # noqa: A002
    return [open_source(found, options) for found in find(files, format)] if files else []


def _shown(place: object) -> str:
    text = str(place)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _arguments(text: str, whole: str, names: Sequence[str] | None = None) -> dict[str, str]:
    """``a=1&b=2`` taken apart; %-escapes and + are resolved."""
    pairs = parse_qsl(text, keep_blank_values=True)
    unknown = [name for name, _ in pairs if names is not None and name not in names]
    if unknown or len({name for name, _ in pairs}) < len(pairs) or (text and not pairs):
        what = f"each of {', '.join(names)} at most once" if names else "NAME=VALUE&NAME=VALUE, each name once"
        message = f"{whole!r} asks with {text!r}: expected {what} behind the '?'"
        raise ValueError(message)
    return dict(pairs)
