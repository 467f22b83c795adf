"""JSON that is cut short, damaged, absurd or something else: a failure for each bad record, or one sentence with the place."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyarrow")

from cgfast.io import read

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.io import StructureBatch


def record(k: int, **changes: Any) -> dict[str, Any]:
    lattice = {"matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]}
    sites = [{"species": [{"element": "Na", "occu": 1}], "abc": [0.1, 0.2, 0.3]}]
    return {"material_id": f"m{k}", "e": 1.0 * k, "structure": {"lattice": lattice, "sites": sites} | changes}


def text(k: int) -> str:
    return json.dumps(record(k))


def single(path: Path, content: str | bytes, **options: Any) -> StructureBatch:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    (batch,) = read(path, **options).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


BAD_RECORDS: dict[str, tuple[str, str]] = {
    "null": ("null", "is null: expected an object"),
    "number": ("12", "is '12': expected an object"),
    "text": ('"{[}"', "expected an object"),
    "list": ("[1, 2]", "is a list of 2 values"),
    "empty list": ("[]", "is an empty list"),
    "empty": ("{}", "an empty object"),
    "other": ('{"a": 1, "b": {"c": 2}}', "holds no structure that is known, but an object with the keys a, b"),
    "null structure": ('{"material_id": "x", "structure": null}', "holds no structure"),
    "structure text": ('{"structure": "{oops"}', "cannot be read"),
    "syntax": ('{"structure": {"lattice": }}', "no JSON (bytes "),
    "quotes": ("{'structure': {}}", "no JSON (bytes "),
    "literal": ('{"structure": {"sites": [nan], "lattice": {}}}', "no JSON (bytes "),
    "deep": ('{"structure": ' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
    "deep objects": ('{"structure": ' + '{"a":' * 3000 + "1" + "}" * 3000 + "}", "nested too deeply"),
    "digits": ('{"structure": {"lattice": {"matrix": ' + "9" * 6000 + '}, "sites": []}}', ""),
    "sites": (text(0).replace('"sites": [', '"sites": [5, '), "cannot be read"),
    "no species": (text(0).replace('"species"', '"spezies"'), "'species' is missing"),
    "species text": (text(0).replace('[{"element": "Na", "occu": 1}]', '"Na"'), "cannot be read"),
    "occupancy": (text(0).replace('"occu": 1', '"occu": NaN'), "occupancies nan"),
    "occupancy text": (text(0).replace('"occu": 1', '"occu": "all"'), "cannot be read"),
    "element": (text(0).replace('"Na"', '["Na"]'), "expected element symbols"),
    "no lattice": (text(0).replace('"matrix"', '"matrices"'), "'a' is missing"),
    "NaN": (text(0).replace("0.3", "NaN"), "position of atom 0"),
    "infinite": (text(0).replace("0.3", "-Infinity"), "position of atom 0"),
    "huge": (text(0).replace("0.3", "1e999"), "position of atom 0"),
    "big integer": (text(0).replace("0.3", "1" + "0" * 400), ""),
    "coordinate text": (text(0).replace("0.3", '"0.3"'), "other than numbers"),
    "long id": (text(0).replace('"m0"', '"' + "x" * 10**6 + '"'), "the id has 1000000 characters"),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_each_bad_record_among_good_ones(tmp_path: Path, name: str) -> None:
    bad, reason = BAD_RECORDS[name]
    for content in (
        f"[{text(1)}, {bad}, {text(2)}]",
        f'{{"entries": [{text(1)},{bad},{text(2)}], "more": 1}}',
        f"{text(1)}\n{bad}\n{text(2)}\n",
        f'{{"m1": {text(1)}, "bad": {bad}, "m2": {text(2)}}}',
    ):
        if name == "long id" and content.startswith('{"m1"'):
            continue  # there the key is the id
        batch = single(tmp_path / "x.json", content, keep=["e"])
        assert batch.crystals.ids.tolist() == ["m1", "m2"]
        assert batch.rows.tolist() == [0, 2]
        (failure,) = batch.failures
        assert len(failure.id) < 50
        assert reason in failure.reason or "line 2 of" in failure.reason
        assert len(failure.reason) < 500 + len(str(tmp_path))


def test_all_bad_records_at_once(tmp_path: Path) -> None:
    parts = [part for k, (bad, _) in enumerate(BAD_RECORDS.values()) for part in (text(k), bad)]
    batch = single(tmp_path / "x.json", f"[{', '.join(parts)}]")
    assert batch.rows.tolist() == list(range(0, len(parts), 2))
    assert [f.row for f in batch.failures] == list(range(1, len(parts), 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.json is empty"),
        (b"  \n ", "x.json is empty"),
        (b"\xef\xbb\xbf", "x.json is empty"),
        (b"\x00\x01\x02", "x.json is no JSON text"),
        (b"PK\x03\x04 and so on", "x.json cannot be read as a zip"),
        (b"<html>", "x.json is no JSON text"),
        (b'"text"', "x.json holds 'text': expected structures"),
        (b"5", "x.json holds '5': expected structures"),
        (b"[1, 2, 3]", "without structures that are known: it holds '1'"),
        (b'{"1": [0, 1], "2": [1, 0]}', "without structures that are known: it holds an object with the keys 1, 2"),
        (b'[{"a": 1}, {"a": 2}]', "without structures that are known: it holds an object with the keys a"),
        (b'{"error": "not found"}', "it holds an object with the keys error"),
    ],
)
def test_files_without_structures(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x.json")


def many(n: int = 400) -> str:
    return "[" + ", ".join(text(k) for k in range(n)) + "]"


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("packed", [False, True])
def test_files_cut_short(tmp_path: Path, share: float, packed: bool) -> None:
    whole = many().encode()
    whole = gzip.compress(whole) if packed else whole
    (tmp_path / "x.json").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"x\.json (ends in the middle|is damaged near byte)"):
        list(read(tmp_path / "x.json").batches())


def test_a_cut_line_is_one_failure(tmp_path: Path) -> None:
    batch = single(tmp_path / "x.jsonl", f"{text(0)}\n{text(1)}\n{text(2)[:50]}")
    assert batch.rows.tolist() == [0, 1]
    assert "line 3 of" in batch.failures[0].reason


def test_damage_between_records(tmp_path: Path) -> None:
    for content, message in (
        (many()[:-1] + " and so on]", "'and so on' stands between two values"),
        (many() + many(), "goes on behind its end at byte"),
        (many() + "]", "closes none"),
        (many().replace(", " + text(300), ' ,"' + text(300)), "ends in the middle"),
    ):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
            list(read(tmp_path / "x.json").batches())


def test_encodings_and_byte_order_marks(tmp_path: Path) -> None:
    content = "[" + text(0).replace("m0", "mé𝄞") + ", " + text(1) + "]"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        batch = single(tmp_path / "x.json", content.encode(encoding))
        assert batch.crystals.ids.tolist() == ["mé𝄞", "m1"]
        assert single(tmp_path / "y.txt", gzip.compress(content.encode(encoding)), format="json").crystals == batch.crystals
    (tmp_path / "x.json").write_bytes(many().encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"no utf-16|ends in the middle"):
        list(read(tmp_path / "x.json").batches())
    batch = single(tmp_path / "z.json", b"[" + text(0).encode() + b', {"material_id": "\xff\xfe"}, ' + text(1).encode() + b"]")
    assert [(f.row, "no JSON" in f.reason) for f in batch.failures] == [(1, True)]


def test_repeated_keys(tmp_path: Path) -> None:
    content = f'{{"a": {text(0)}, "a": {text(1)}, "version": "1.0", "b": {text(2)[:-1]}, "e": 5.5}}, "end": null}}'
    batch = single(tmp_path / "x.json", content, keep=["e"])
    assert batch.crystals.ids.tolist() == ["a", "a", "b"]  # two rows of one id, of which none is lost
    assert batch.columns.column("e").to_pylist() == [0.0, 1.0, 5.5]  # of one record's keys the last counts
    assert [(f.id, f.row) for f in batch.failures] == [("version", 2), ("end", 4)]


def test_keys_with_escapes(tmp_path: Path) -> None:
    keys = ['a"b', "back\\slash", "{[", "é", "\n", "x" * 2000]
    batch = single(tmp_path / "x.json", json.dumps({key: record(k) for k, key in enumerate(keys)}))
    assert batch.crystals.ids.tolist() == keys[:-1]
    assert "the id has 2000 characters" in batch.failures[0].reason


def test_bad_files_among_others(tmp_path: Path) -> None:
    for name, content in (("a", text(0)), ("b", ""), ("c", "<html>"), ("d", text(3)[:-20]), ("e", "[1]"), ("f", many(2))):
        (tmp_path / f"{name}.json").write_text(content)
    (batch,) = read(tmp_path).batches()
    assert batch.crystals.ids.tolist() == ["m0", "m0", "m1"]
    assert [(f.id, f.row) for f in batch.failures] == [("b", 1), ("c", 2), ("d", 3), ("e", 4)]
    (tmp_path / "g.json").write_text(many()[:-30])
    with pytest.raises(ValueError, match=r"g\.json ends in the middle"):  # nobody knows how many rows are lost
        list(read(tmp_path).batches())


def test_a_large_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    n = 60_000
    with gzip.open(tmp_path / "x.json.gz", "wt", compresslevel=1) as file:
        file.write('{"entries": [' + ",".join(text(k % 100) for k in range(n)) + "]}")
    size = len(text(50)) * n
    reader = read(tmp_path / "x.json.gz")
    tracemalloc.start()
    try:
        assert sum(len(batch.crystals) for batch in reader.batches()) == n
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 9_000_000
    assert peak < 6_000_000


def test_without_orjson(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(many(30).replace("0.3}", "NaN}"))
    code = (
        "import sys; sys.modules['orjson'] = None\n"
        "from cgfast.io import read\n"
        f"(c,) = read({str(tmp_path / 'x.json')!r})\nprint(len(c), c.ids[-1])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["30", "m29"]
