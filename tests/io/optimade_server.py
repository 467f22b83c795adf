"""A real OPTIMADE server on loopback: the reference server with its example structures, in memory."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = {
    "database_backend": "mongomock",
    "insert_test_data": True,
    "root_path": None,
    "page_limit_max": 50,
    "provider": {"prefix": "exmpl", "name": "Example", "description": "Examples", "homepage": "https://example.com"},
    "provider_fields": {"structures": [{"name": "chemsys", "type": "string", "description": "chemical system"}]},
    "aliases": {
        "structures": {
            "id": "task_id",
            "immutable_id": "_id",
            "chemical_formula_descriptive": "pretty_formula",
            "chemical_formula_reduced": "pretty_formula",
            "chemical_formula_anonymous": "formula_anonymous",
        }
    },
    "length_aliases": {"structures": {"elements": "nelements", "species_at_sites": "nsites"}},
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def optimade_server(folder: Path) -> Iterator[str]:
    """Its base address, as long as the context lasts; a skip with the reason where it is not installed."""
    for module in ("optimade", "uvicorn", "fastapi", "mongomock"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f'{module} is not installed: pip install "optimade[server]"')
    config = folder / "optimade.json"
    config.write_text(json.dumps(CONFIG))
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-P", "-m", "uvicorn", "optimade.server.main:app", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OPTIMADE_CONFIG_FILE": str(config)})
        try:
            _wait(url, server, folder / "server.log")
            yield url
        finally:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v1/structures?page_limit=1", timeout=5) as answer:  # noqa: S310
            assert answer.status == 200
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    pytest.fail(f"the OPTIMADE server did not start in a minute: {log.read_text()}")
