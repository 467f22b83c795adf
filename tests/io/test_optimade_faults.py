"""The OPTIMADE client against servers that misbehave."""

from __future__ import annotations

import importlib.util
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from cgfast import io
from tests.io.optimade_server import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if importlib.util.find_spec("optimade") is None:
    pytest.skip('the client is not installed: pip install "cgfast[optimade]"', allow_module_level=True)
pytest.importorskip("optimade.client", reason="the client of the package optimade is not complete")


def entry(name: str, **attributes: Any) -> dict[str, Any]:
    plain = {
        "lattice_vectors": (4 * np.eye(3)).tolist(),
        "cartesian_site_positions": [[0, 0, 0]],
        "species_at_sites": ["Si"],
        "dimension_types": [1, 1, 1],
    }
    return {"id": name, "type": "structures", "attributes": {**plain, **attributes}}


class Server(ThreadingHTTPServer):
    """Answers with whatever ``answer(path, query, n)`` gives: (status, headers, body); n counts the requests of structures."""

    daemon_threads = True

    def __init__(self, answer: Callable[..., tuple[int, dict[str, str], Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.n = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        Thread(target=self.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if "info" in parts.path:
            self.send_error(404)
            return
        self.server.n += 1
        status, headers, body = self.server.answer(self.server, parse_qs(parts.query), self.server.n)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr("cgfast.io.optimade_session._LONGEST_WAIT", 0.01)
    servers: list[Server] = []

    def start(answer: Callable[..., Any]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def page(server: Server, number: int, of: int, *entries: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    following = f"{server.url}/v1/structures?page={number + 1}" if number + 1 < of else None
    data = list(entries) or [entry(f"s{number}-{k}") for k in range(3)]
    return (
        200,
        {},
        {"data": data, "meta": {"data_returned": 3 * of}, "links": {"next": {"href": following} if following else None}},
    )


def number_of(query: dict[str, list[str]]) -> int:
    return int(query.get("page", ["0"])[0])


def ids(reader: io.Reader) -> list[str]:
    return [name for crystals in reader for name in crystals.ids.tolist()]


ALL = [f"s{n}-{k}" for n in range(3) for k in range(3)]


def test_a_busy_server_is_asked_again(serve: Callable[..., Server]) -> None:
    def answer(server: Server, query: dict[str, list[str]], n: int) -> Any:
        if n in {1, 4}:
            return 429, {"Retry-After": "0"}, {"errors": []}
        return (503, {}, b"busy") if n == 3 else page(server, number_of(query), 3)

    assert ids(io.optimade(serve(answer).url)) == ALL


def test_a_page_that_breaks_off_is_fetched_again(serve: Callable[..., Server]) -> None:
    def answer(server: Server, query: dict[str, list[str]], n: int) -> Any:
        status, headers, body = page(server, number_of(query), 3)
        return (status, {"Content-Length": "100000"}, b'{"data": [') if n == 2 else (status, headers, body)

    assert ids(io.optimade(serve(answer).url, timeout=5)) == ALL


def test_a_server_that_stays_broken(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgfast.io.optimade_session._ATTEMPTS", 2)

    def answer(server: Server, query: dict[str, list[str]], _: int) -> Any:
        return page(server, 0, 3) if not number_of(query) else (502, {}, b"")

    one = serve(answer)
    batches = io.optimade(one.url, "nelements=1", batch_rows=2).batches()
    assert next(batches).crystals.ids.tolist() == ["s0-0", "s0-1"]  # what came before is given
    with pytest.raises(ValueError, match=rf"{one.url} \(asked with filter 'nelements=1'\): 502 Bad Gateway \(2 attempts\)"):
        list(batches)


def test_a_server_that_is_too_slow(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgfast.io.optimade_session._ATTEMPTS", 1)

    def answer(server: Server, *_: Any) -> Any:
        time.sleep(1.0)
        return page(server, 0, 1)

    with pytest.raises(ValueError, match=r"gave no full answer within 0.3 s"):
        io.optimade(serve(answer).url, timeout=0.3)


def test_nobody_there() -> None:
    begin = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot be reached: Connection refused"):
        io.optimade(f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>hello</html>", r"its answer is no JSON object: '<html>hello</html>'"),
        (b"[1, 2]", r"its answer is no JSON object"),
        ({"data": {"id": "1"}}, r"its answer holds no list of structures"),
        ({"data": [], "errors": [{"title": "Sorry", "detail": "closed"}]}, r"Sorry: closed"),
        ({"data": [1], "links": {"next": "file:///etc/passwd"}}, r"its next page is 'file:///etc/passwd': expected an address"),
    ],
)
def test_answers_that_are_none(serve: Callable[..., Server], body: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(io.optimade(serve(lambda *_: (200, {}, body)).url))


def test_pages_in_a_circle(serve: Callable[..., Server]) -> None:
    reader = io.optimade(serve(lambda server, query, _: page(server, number_of(query) % 2, 3)).url)
    with pytest.raises(ValueError, match=r"the pages go in a circle"):
        list(reader)


def test_a_page_without_end(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgfast.io.optimade_session._MAX_PAGE", 1 << 20)
    with pytest.raises(ValueError, match=r"a page has more than 1 MiB"):
        io.optimade(serve(lambda *_: (200, {}, b" " * (2 << 20))).url)


def test_entries_that_cannot_be_used(serve: Callable[..., Server]) -> None:
    partial_data = entry("partial", cartesian_site_positions=None)
    partial_data["meta"] = {"partial_data_links": {"cartesian_site_positions": [{"format": "jsonlines", "link": "http://x"}]}}
    mixed = {"name": "M", "chemical_symbols": ["Fe", "Ni"], "concentration": [0.5, 0.5]}
    entries = [
        entry("good"),
        entry("null", lattice_vectors=None),
        partial_data,
        entry("strange", species_at_sites=["Qq"]),
        {"id": "empty", "type": "structures"},
        entry("mixed", species=[mixed], species_at_sites=["M"], structure_features=["disorder"]),
        entry("last"),
    ]
    one = serve(lambda server, *_: page(server, 0, 1, *entries))
    (batch,) = io.optimade(one.url).batches()
    assert batch.crystals.ids.tolist() == ["good", "last"]
    assert [failure.id for failure in batch.failures] == ["null", "partial", "strange", "empty", "mixed"]
    reasons = {failure.id: failure.reason for failure in batch.failures}
    assert "as partial data only" in reasons["partial"]
    assert "Qq" in reasons["strange"]
    (kept,) = io.optimade(one.url, on_disorder="majority")
    assert kept.ids.tolist() == ["good", "mixed", "last"]
    with pytest.raises(ValueError, match="disordered"):
        list(io.optimade(one.url, on_disorder="error"))


def test_memory_holds_a_page_and_the_first_ones(serve: Callable[..., Server]) -> None:
    one = serve(
        lambda server, query, _: page(server, number_of(query), 5, *[entry(f"{number_of(query)}-{k}") for k in range(400)])
    )
    reader = io.optimade(one.url)
    assert one.n == 1
    assert sum(len(crystals) for crystals in reader) == 2000
    assert one.n == 5
    pages = reader.sources[0]._pages
    assert [len(found.entries) for found in pages._first] == [400, 400, 400]
    assert sum(len(crystals) for crystals in reader) == 2000  # again, from the beginning
    assert one.n == 7  # the first pages are not fetched a second time
