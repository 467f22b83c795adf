"""Pages of an OPTIMADE server's answer to a query, fetched one after another by the client of the package `optimade`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cgfast._optional import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OptimadePages"]

_KEPT_ENTRIES = 1000  # of the first pages: reading begins with them twice, for the types of columns and for the crystals
_PAGE_LIMITS = (500, 100, None)  # entries a page; a server may refuse many (403), and by itself gives few
_SPECIFIC = "()[]{}<>=!,:;/ \"'*.-_~"  # what filters are written with is easier to read in messages of servers as it is


@dataclass
class _Page:
    entries: list[Any]
    next: str


class OptimadePages:
    """The structures that fit a filter, from the first one each time it is iterated; memory holds one page, and the first ones.

    Raises:
        ValueError: When made: the filter is none. By `begin` and while iterating: the server refuses, or a page could not be
            had in a few attempts.
        ImportError: The client of the package `optimade` is not installed.
    """

    def __init__(self, base_url: str, filter: str, fields: Sequence[str], page_limit: int | None, timeout: float) -> None:  # noqa: A002
        self._base_url = base_url
        self._filter = filter
        self._fields = list(fields)
        self._timeout = timeout
        client = _client_class()
        from cgfast.io.optimade_session import session

        self._session = session(timeout)
        self._client = client(
            base_url,
            max_results_per_provider=1 << 62,
            http_timeout=timeout,
            use_async=False,
            silent=True,
            http_client=self._session,
        )
        _check(filter)
        self.total: int | None = None
        """Entries that fit, as the server says."""
        self._limits = (page_limit,) if page_limit else _PAGE_LIMITS
        self._first: list[_Page] = []

    def begin(self) -> None:
        """Fetch the first page."""
        refusal: ValueError | None = None
        for limit in self._limits:
            try:
                self._first = [self._fetch(None, limit)]
            except ValueError as error:
                refusal = refusal or error
                if ": 403 " not in str(error):
                    raise
            else:
                self._session.reached = True
                return
        raise refusal or self._error("no answer")

    def __iter__(self) -> Iterator[Any]:
        if not self._first:
            self.begin()
        for page in self._first:
            yield from page.entries
        following, seen = self._first[-1].next, {page.next for page in self._first[:-1]}
        while following:
            if following in seen:
                reason = f"the pages go in a circle: {following} comes again"
                raise self._error(reason)
            seen.add(following)
            page = self._fetch(following)
            if sum(len(one.entries) for one in self._first) < _KEPT_ENTRIES and self._first[-1].next == following:
                self._first.append(page)
            yield from page.entries
            following = page.next

    def declared(self) -> dict[str, str]:
        """Properties of structures that the server tells of -> their type in OPTIMADE's words; empty if it does not tell."""
        answer = self._ask("info/structures", "", None, None, None)
        data = answer.data if isinstance(answer.data, dict) else {}
        properties = data.get("properties")
        if answer.errors or not isinstance(properties, dict):
            return {}
        return {str(name): _type_of(one) for name, one in properties.items()}

    def _fetch(self, url: str | None, limit: int | None = None) -> _Page:
        answer = self._ask("structures", self._filter, self._fields, limit, url)
        if answer.errors:
            raise self._error("; ".join(_sentence(one) for one in answer.errors))
        if not isinstance(answer.data, list):
            raise self._error("its answer holds no list of structures")
        total = answer.meta.get("data_returned")
        if url is None:
            self.total = total if isinstance(total, int) and not isinstance(total, bool) else None
        following = answer.links.get("next")
        following = following.get("href") if isinstance(following, dict) else following
        if following and not str(following).startswith(("http://", "https://")):
            reason = f"its next page is {str(following)[:200]!r}: expected an address"
            raise self._error(reason)
        return _Page(answer.data, str(following or ""))

    def _ask(self, endpoint: str, filter: str, fields: list[str] | None, limit: int | None, url: str | None) -> Any:  # noqa: A002, ANN401
        answers = self._client.get_one(
            endpoint,
            quote(filter, safe=_SPECIFIC),
            self._base_url,
            response_fields=fields,
            page_limit=limit,
            paginate=False,
            override_url=url,
        )
        return next(iter(answers.values()))

    def _error(self, reason: str) -> ValueError:
        asked = f"filter {self._filter!r}" if self._filter else "no filter"
        return ValueError(f"the OPTIMADE server {self._base_url} (asked with {asked}): {reason}")


def _client_class() -> Any:  # noqa: ANN401 - the package may not be there
    try:
        return require("optimade.client", "optimade").OptimadeClient
    except ImportError as error:
        if error.name == "optimade":
            raise
        message = "the client of the package 'optimade' is not installed; run: pip install \"cgfast[optimade]\""
        raise ImportError(message, name="optimade") from None


def _check(filter: str) -> None:  # noqa: A002 - OPTIMADE's word
    from optimade.exceptions import BadRequest
    from optimade.filterparser import LarkParser

    if not filter:
        return
    try:
        LarkParser().parse(filter)
    except BadRequest as error:
        said = " ".join(str(getattr(error, "detail", "") or error).split())[:300]
        message = f"filter is {filter!r}: expected an OPTIMADE filter like 'elements HAS \"Si\" AND nelements=2' ({said})"
        raise ValueError(message) from None


def _sentence(error: Any) -> str:  # noqa: ANN401 - text of the client, or an object of the server
    if isinstance(error, dict):
        error = ": ".join(str(error[key]) for key in ("title", "detail") if error.get(key)) or error
    return " ".join(str(error).split())[:400]


def _type_of(described: Any) -> str:  # noqa: ANN401
    if not isinstance(described, dict):
        return ""
    return str(described.get("x-optimade-type") or described.get("type") or "")
