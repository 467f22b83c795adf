"""Structures of an OPTIMADE server as a source: a query, and what its answer holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cgfast.io.json_records import Decoder
from cgfast.io.kept import LOOK_AT
from cgfast.io.optimade_pages import OptimadePages
from cgfast.io.optimade_table import COLUMNS
from cgfast.io.records import Record, RecordSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cgfast.io.formats import Options

__all__ = ["OptimadeQuery", "OptimadeSource"]

_EXAMPLES: dict[str, Any] = {"string": "", "timestamp": "", "integer": 0, "float": 0.0, "boolean": False}
"""A value of each type of OPTIMADE that a column can hold."""


@dataclass(frozen=True)
class OptimadeQuery:
    """A server and what it is asked for.

    url: The base address ("https://optimade.example.org"), or one that goes on with ``/v1`` or ``/v1/structures``. filter: In
    OPTIMADE's language; "" for all structures. page_limit: Entries a page; None for as many as the server allows, up to 500.
    timeout: Seconds that a page may take.

    Raises ValueError for an address that is none.
    """

    url: str
    filter: str = ""
    page_limit: int | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url) if isinstance(self.url, str) else None
        if parts is None or parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
            message = f"url is {self.url!r}: expected the address of an OPTIMADE server like 'https://optimade.example.org'"
            raise ValueError(message)
        if not isinstance(self.filter, str):
            message = f"filter is {self.filter!r}: expected text in OPTIMADE's language"
            raise ValueError(message)  # noqa: TRY004 - bad input is a ValueError throughout
        limit = self.page_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            message = f"page_limit is {limit!r}: expected a positive integer"
            raise ValueError(message)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float) or not self.timeout > 0:
            message = f"timeout is {self.timeout!r}: expected a positive number of seconds"
            raise ValueError(message)

    @property
    def base_url(self) -> str:
        """The address without version and endpoint."""
        return re.sub(r"(/v\d+(\.\d+)*)?(/structures)?/*$", "", self.url)

    def open(self, options: Options) -> OptimadeSource:
        """Ask for the first page."""
        return OptimadeSource(self, options)


class OptimadeSource(RecordSource):
    """The answer to an `OptimadeQuery`; reading it anew asks anew, except for the first pages."""

    def __init__(self, query: OptimadeQuery, options: Options) -> None:
        self.query = query
        heads = [name.partition(".")[0] for name in options.keep]
        fields = list(dict.fromkeys([*COLUMNS, *heads]))
        self._pages = OptimadePages(query.base_url, query.filter, fields, query.page_limit, query.timeout)
        self._decoder = Decoder(None, options.on_disorder)
        self._declared: dict[str, str] | None = None
        if heads:
            self._refuse_unknown(query.base_url, heads)
        self._pages.begin()
        super().__init__(
            "optimade",
            [],
            self._records,
            keep=options.keep,
            on_disorder=options.on_disorder,
            n_rows_estimate=self._pages.total,
            kind=query.base_url,
        )

    def _refuse_unknown(self, url: str, names: list[str]) -> None:
        declared = self._declare()
        unknown = [name for name in names if name not in declared]
        if declared and unknown:
            message = f"keep names {', '.join(unknown)}, but {url} has no such property. Properties: {', '.join(declared)}"
            raise ValueError(message[:4000])

    def _declare(self) -> dict[str, str]:
        if self._declared is None:
            self._declared = self._pages.declared()
        return self._declared

    def columns(self) -> dict[str, str]:
        """Properties that can be kept -> their type: those with one value each that the server tells of."""
        declared = {name: kind for name, kind in self._declare().items() if kind in _EXAMPLES and name not in COLUMNS}
        return declared or super().columns()

    def _records(self) -> Iterator[Record]:
        for entry in self._pages:
            yield from self._decoder.records(entry, None)

    def _properties(self) -> Iterator[Mapping[str, Any]]:
        """An example of what the server says, then the first entries: types are known even where nothing fits the filter."""
        declared = self._declare()
        example = {name: _EXAMPLES.get(kind) for name, kind in declared.items()}
        first = islice(super()._properties(), LOOK_AT)
        return chain([example] if example else [], first)
