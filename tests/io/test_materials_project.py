"""The Materials Project: documents in the shape of its API (made by hand), through a stand-in and through mp-api itself."""

from __future__ import annotations

import functools
import importlib.util
import json
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from cgfast import io
from cgfast.io import materials_project_source as source
from cgfast.io.addresses import query_of

pytest.importorskip("pyarrow")

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATTICE = {"matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.2]], "pbc": [True] * 3, "a": 4.0, "b": 4.0, "c": 4.2}


def site(symbol: str, at: Sequence[float]) -> dict[str, Any]:
    return {"species": [{"element": symbol, "occu": 1}], "abc": list(at), "label": symbol, "properties": {}}


def document(number: int, **fields: Any) -> dict[str, Any]:
    """A summary document as /materials/summary/ gives it."""
    return {
        "material_id": f"mp-{number}",
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "charge": 0,
            "lattice": LATTICE,
            "sites": [site("Li", (0, 0, 0)), site("O", (0.5, 0.5, 0.5 + number / 1000))],
            "properties": {},
        },
        "band_gap": number / 10,
        "is_stable": number % 2 == 0,
        "symmetry": {"crystal_system": "Cubic", "symbol": "Pm-3m", "number": 221, "symprec": 0.1},
        "formula_pretty": "LiO",
        **fields,
    }


DOCUMENTS = [document(n) for n in range(7)]


class System(Enum):
    cubic = "Cubic"


class Model:
    """A document or a part of one as pydantic's models of emmet are."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        assert mode == "json"
        return {name: one.value if isinstance(one, Enum) else one for name, one in self.fields.items()}


class Id:
    """An id of emmet: no str, but with a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def as_model(one: dict[str, Any], fields: Sequence[str]) -> Model:
    """What mp-api gives with document models: objects of pymatgen and emmet, None for what was not asked for."""
    whole: dict[str, Any] = {**one, "material_id": Id(one["material_id"])}
    if "structure" in fields and one.get("structure"):
        whole["structure"] = SimpleNamespace(as_dict=lambda: one["structure"])
    whole["symmetry"] = Model({**one["symmetry"], "crystal_system": System.cubic})
    return Model({name: whole[name] if name in fields else None for name in whole})


class Rester:
    """Stands in for mp-api's: knows two criteria, gives documents in an order of its own."""

    def __init__(self, documents: Sequence[dict[str, Any]], *, models: bool = False) -> None:
        self.documents = list(documents)
        self.models = models
        self.calls: list[dict[str, Any]] = []
        self.materials = SimpleNamespace(summary=SimpleNamespace(search=self.search))

    def search(
        self,
        band_gap: tuple[float | None, float | None] | None = None,
        chemsys: str | None = None,
        material_ids: list[str] | None = None,
        chunk_size: int = 1000,
        all_fields: bool = True,
        fields: list[str] | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        assert not kwargs
        assert not all_fields
        assert fields
        self.calls.append({"band_gap": band_gap, "chemsys": chemsys, "material_ids": material_ids, "fields": fields})
        low, high = band_gap or (None, None)
        found = [
            one
            for one in self.documents
            if (low is None or one["band_gap"] >= low)
            and (high is None or one["band_gap"] <= high)
            and (material_ids is None or one["material_id"] in material_ids)
        ]
        assert len(found) <= chunk_size
        if material_ids is not None:
            found.reverse()
        if self.models:
            return [as_model(one, fields) for one in found]
        return [{name: one[name] for name in fields if name in one} for one in found]


@pytest.fixture
def rester(monkeypatch: pytest.MonkeyPatch) -> Rester:
    one = Rester(DOCUMENTS)
    monkeypatch.setattr(source, "_rester", lambda _: one)
    return one


@pytest.mark.parametrize("models", [False, True])
def test_documents_become_crystals(rester: Rester, models: bool) -> None:
    rester.models = models
    reader = io.materials_project(
        band_gap=(0.2, None), keep=["band_gap", "is_stable", "symmetry.number", "symmetry.crystal_system"]
    )
    assert reader.n_rows == 5
    (batch,) = reader.batches()
    assert batch.crystals.ids.tolist() == [f"mp-{n}" for n in range(2, 7)]
    assert batch.crystals.atomic_numbers.tolist() == [3, 8] * 5
    np.testing.assert_allclose(batch.crystals.cell[0], LATTICE["matrix"])
    np.testing.assert_allclose(batch.crystals.positions[1::2, 2], [4.2 * (0.5 + n / 1000) for n in range(2, 7)])
    assert batch.columns is not None
    assert batch.columns.to_pydict() == {
        "band_gap": [n / 10 for n in range(2, 7)],
        "is_stable": [n % 2 == 0 for n in range(2, 7)],
        "symmetry.number": [221.0] * 5,
        "symmetry.crystal_system": ["Cubic"] * 5,
    }
    assert [str(one.type) for one in reader.kept_schema] == ["double", "bool", "double", "string"]


def test_ids_first_then_chunks_with_no_field_too_many(rester: Rester) -> None:
    reader = io.materials_project(chemsys="Li-O", keep=["band_gap"], chunk_size=3)
    assert [crystals.ids.tolist() for crystals in reader] == [[f"mp-{n}" for n in range(7)]]
    ids, *chunks = rester.calls
    assert ids == {"band_gap": None, "chemsys": "Li-O", "material_ids": None, "fields": ["material_id"]}
    assert all(chunk["fields"] == ["material_id", "structure", "band_gap"] for chunk in chunks)
    read = [chunk["material_ids"] for chunk in chunks]
    # for the types of columns all of them (fewer than a thousand), and for the crystals those after the first chunk again
    assert read == [["mp-0", "mp-1", "mp-2"], ["mp-3", "mp-4", "mp-5"], ["mp-6"], ["mp-3", "mp-4", "mp-5"], ["mp-6"]]


def test_documents_without_a_structure_are_failures(rester: Rester) -> None:
    rester.documents = [document(0), document(1, structure=None), document(2), document(3), document(4)]
    del rester.documents[2]["structure"]
    rester.documents[3]["structure"]["sites"][0]["species"] = [{"element": "Qq", "occu": 1}]
    reader = io.materials_project(chemsys="Li-O")
    rester.documents = rester.documents[:-1]  # gone in the meantime
    (batch,) = reader.batches()
    assert batch.crystals.ids.tolist() == ["mp-0"]
    assert [failure.id for failure in batch.failures] == ["mp-1", "mp-2", "mp-3", "mp-4"]
    reasons = [failure.reason for failure in batch.failures]
    assert reasons[0] == reasons[1] == "its document holds no structure"
    assert "Qq" in reasons[2]
    assert "no document" in reasons[3]


def test_nothing_fits(rester: Rester) -> None:
    reader = io.materials_project(band_gap=(100, None))
    assert reader.n_rows == 0
    assert list(reader.batches()) == []
    assert rester.calls


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({}, r"no criteria; expected some like elements="),
        ({"band_gap": None}, r"no criteria"),
        ({"bandgap": (1, 2)}, r"no criterion is called bandgap: expected some of band_gap, chemsys, material_ids$"),
        ({"fields": ["band_gap"]}, r"no criterion is called fields"),
        ({"chemsys": "Li-O", "chunk_size": 0}, r"chunk_size is 0"),
        ({"chemsys": "Li-O", "keep": ["nope"]}, r"has no property nope"),
    ],
)
def test_arguments(rester: Rester, criteria: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        io.materials_project(**criteria)
    assert rester.documents


def test_what_goes_wrong_is_one_sentence(rester: Rester, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        message = "REST query returned with error status code 403:\n \x1b[31mInvalid authentication credentials\x1b[39m"
        raise RuntimeError(message)

    fail.__signature__ = source.inspect.signature(rester.search)  # type: ignore[attr-defined]
    monkeypatch.setattr(rester.materials.summary, "search", fail)
    expected = r"^materials_project\(chemsys='Li-O'\): REST query .* code 403: Invalid authentication credentials$"
    with pytest.raises(ValueError, match=expected):
        io.materials_project(chemsys="Li-O", api_key="secret")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:", (1.0, None)),
        (":0.5", (None, 0.5)),
        ("-1.5:2e-3", (-1.5, 0.002)),
        ("true", True),
        ("False", False),
        ("Li,O", ["Li", "O"]),
        ("225", 225),
        ("Li-Fe-O", "Li-Fe-O"),
        ("ABO3", "ABO3"),
        (":", ":"),
    ],
)
def test_criteria_as_text(text: str, value: Any) -> None:
    assert source.value_of(text) == value


def test_a_query_as_text(rester: Rester) -> None:
    assert str(query_of("mp:elements=Li,O&band_gap=1:&is_stable=true")) == (
        "elements=['Li', 'O'], band_gap=(1.0, None), is_stable=True"
    )
    (crystals,) = io.read("mp:band_gap=0.5:")
    assert crystals.ids.tolist() == ["mp-5", "mp-6"]
    assert rester.calls[0]["band_gap"] == (0.5, None)
    with pytest.raises(ValueError, match=r"expected NAME=VALUE&NAME=VALUE, each name once"):
        io.read("mp:band_gap=1:&band_gap=2:")
    with pytest.raises(ValueError, match=r"'1e' is no number"):
        io.read("mp:band_gap=1e:")


# --- the real client, on loopback -----------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """As much of the API as a search needs."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if "heartbeat" in parts.path:
            self.reply({"status": "OK", "db_version": "2026.1.1", "access_controlled_batch_ids": [], "version": "1"})
            return
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append(asked)  # type: ignore[attr-defined]
        wanted = asked.get("material_ids")
        found = [one for one in DOCUMENTS if wanted is None or one["material_id"] in wanted.split(",")]
        found = [one for one in found if one["band_gap"] >= float(asked.get("band_gap_min", 0))]
        skip, limit = int(asked.get("_skip", 0)), int(asked.get("_limit", 100))
        fields = asked["_fields"].split(",")
        data = [{name: one[name] for name in fields} for one in found[skip : skip + limit]]
        self.reply({"data": data, "meta": {"total_doc": len(found), "api_version": "0", "max_limit": 1000}})

    def reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    if importlib.util.find_spec("mp_api") is None:
        pytest.skip('mp-api is not installed: pip install "cgfast[mp]"')
    import mp_api.client

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}/"
    monkeypatch.setattr(mp_api.client, "MPRester", functools.partial(mp_api.client.MPRester, endpoint=endpoint))
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow  # mp-api takes long to import
def test_through_mp_api_itself(api: ThreadingHTTPServer) -> None:
    reader = io.materials_project(band_gap=(0.2, None), keep=["band_gap", "symmetry.number"], api_key="k" * 32, chunk_size=2)
    (batch,) = reader.batches()
    assert batch.crystals.ids.tolist() == [f"mp-{n}" for n in range(2, 7)]
    assert batch.crystals.atomic_numbers.tolist() == [3, 8] * 5
    assert batch.columns is not None
    assert batch.columns.to_pydict() == {"band_gap": [n / 10 for n in range(2, 7)], "symmetry.number": [221.0] * 5}
    assert api.asked[0]["band_gap_min"] == "0.2"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"no criterion is called bandgap: expected some of band_gap, chemsys"):
        io.materials_project(bandgap=1, api_key="k" * 32)
