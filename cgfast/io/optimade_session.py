"""HTTP for the client of the package `optimade`: waits when a server is busy, and lets neither time nor memory run away.

Whatever goes wrong becomes an answer in OPTIMADE's own form for errors, since the client prints exceptions. Import this module
only where `requests` is installed, which comes with the client.
"""

from __future__ import annotations

import io
import json
import time
from typing import Any

import requests

__all__ = ["PatientSession", "session"]

_ATTEMPTS = 5
_LONGEST_WAIT = 60.0  # seconds, whatever a server says
_CONNECT = 10.0  # seconds
_MAX_PAGE = 256 << 20  # bytes
_BUSY = (429, 500, 502, 503, 504)


class _Refused(Exception):  # noqa: N818 - becomes an answer
    """Asking again would not help."""


class _Again(Exception):  # noqa: N818 - becomes another attempt
    """It may help to ask again, after ``wait`` seconds at least; whether there was an answer at all."""

    def __init__(self, reason: str, *, wait: float = 0.0, answered: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.answered = answered


class PatientSession(requests.Session):
    """A session whose `get` always gives an answer that is JSON, after a few attempts. ``timeout``: seconds an attempt."""

    timeout = 60.0
    reached = False  # an address that was never reached may be wrong: it is not worth waiting for

    def get(self, url: Any, params: Any = None, **_: Any) -> requests.Response:  # noqa: ANN401 - what the client says of timeouts
        """The page at this address."""
        reason, attempt = "", 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _json(self._page(url, params))
            except _Refused as error:
                return _error(str(error))
            except _Again as error:
                reason, wait = str(error), max(error.wait, 0.5 * 2 ** (attempt - 1))
                if not (self.reached or error.answered):
                    break
            if attempt < _ATTEMPTS:
                time.sleep(min(wait, _LONGEST_WAIT))
        return _error(f"{reason} ({attempt} attempts)" if attempt > 1 else reason)

    def _page(self, url: Any, params: Any) -> bytes:  # noqa: ANN401
        try:
            response = super().get(url, params=params, timeout=(min(_CONNECT, self.timeout), self.timeout), stream=True)
            body = self._body(response)
        except (requests.Timeout, TimeoutError):
            reason = f"gave no full answer within {self.timeout:g} s"
            raise _Again(reason) from None
        except requests.ConnectionError as error:
            reason = f"cannot be reached: {_root(error)}"
            raise _Again(reason, answered=False) from None
        except requests.RequestException as error:
            reason = f"broke off: {_root(error)}"
            raise _Again(reason) from None
        if response.status_code == 200:
            return body
        reason = f"{response.status_code} {response.reason}{_details(body)}"
        if response.status_code in _BUSY:
            raise _Again(reason, wait=_seconds(response.headers.get("Retry-After", "")))
        raise _Refused(reason)

    def _body(self, response: requests.Response) -> bytes:
        """All of the content. Raises TimeoutError or _Refused where it takes too long, or has no end."""
        end = time.monotonic() + self.timeout
        body = bytearray()
        with response:
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > _MAX_PAGE:
                    message = f"a page has more than {_MAX_PAGE >> 20} MiB: expected fewer structures a page (page_limit)"
                    raise _Refused(message)
                if time.monotonic() > end:
                    raise TimeoutError
        return bytes(body)


def session(timeout: float) -> type[PatientSession]:
    """A class of sessions with this time limit."""
    return type("Session", (PatientSession,), {"timeout": timeout})


def _json(body: bytes) -> requests.Response:
    try:
        if isinstance(json.loads(body), dict):
            return _response(body)
    except (ValueError, RecursionError):
        pass
    return _error(f"its answer is no JSON object: {' '.join(body[:100].decode('utf-8', 'replace').split())!r}")


def _error(reason: str) -> requests.Response:
    return _response(json.dumps({"data": [], "errors": [{"detail": reason}]}).encode())


def _response(body: bytes) -> requests.Response:
    answer = requests.Response()
    answer.status_code = 200
    answer.encoding = "utf-8"
    answer.raw = io.BytesIO(body)
    return answer


def _details(body: bytes) -> str:
    """What the server says of an error, in OPTIMADE's form."""
    try:
        errors = json.loads(body)["errors"]
        said = [f"{one.get('title', '')}: {one.get('detail', '')}".strip(": ") for one in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {'; '.join(dict.fromkeys(said))}"


def _seconds(text: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0  # a date: the usual wait will do


def _root(error: BaseException) -> str:
    """The innermost reason, which says most: "Connection refused"."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())[:200]
