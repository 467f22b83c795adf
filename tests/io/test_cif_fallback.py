"""What gemmi refuses goes to pymatgen, in another process, under a time limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("gemmi")
pytest.importorskip("pymatgen")

from cgfast.io import cif_fallback, read
from cgfast.io.cif import Unusable
from cgfast.io.cif_fallback import Fallback
from tests.io.cifs import cif

if TYPE_CHECKING:
    from pathlib import Path

# pymatgen makes something of all but the last two; gemmi of none.
REFUSED = {
    "bad loop": ("loop_\n_a\n_b\n1 2 3\n" + cif("Na1 Na 0 0 0")[len("data_test\n") :]).join(["data_test\n", ""]),
    "cubic cell": cif("Na1 Na 0 0 0").replace("_cell_length_b 5\n_cell_length_c 5\n", "") + "_symmetry_cell_setting cubic\n",
    "hopeless": "this is no CIF",
    "unknown group": cif("Na1 Na 0 0 0", symmetry="_symmetry_space_group_name_H-M 'P 99/q'\n"),
}


def test_refused_files(tmp_path: Path) -> None:
    for name, text in REFUSED.items():
        (tmp_path / f"{name}.cif").write_text(text)
    (batch,) = read(tmp_path).batches()
    assert batch.n_rows == 4
    failures = {f.id: f.reason for f in batch.failures}
    assert set(failures) >= {"hopeless", "unknown group"}
    assert "gemmi: " in failures["hopeless"]
    assert "pymatgen: " in failures["hopeless"]
    assert "'P 99/q' is not known" in failures["unknown group"]  # never silently P1
    assert "cubic cell" in batch.crystals.ids
    assert len(batch.crystals) + len(failures) == 4


GOOD = cif("Na1 Na 0 0 0\nCl1 Cl .5 .5 .5", name="good")
WITHOUT_CELL = cif("Na1 Na 0 0 0", name="cut").replace("_cell_length_a 5\n", "")
STRAY = "\n_cell_volume 'not closed\n"


def test_no_block_of_a_refused_file_is_lost(tmp_path: Path) -> None:
    (tmp_path / "two.cif").write_text(GOOD + STRAY + WITHOUT_CELL)
    (tmp_path / "three.cif").write_text(GOOD + STRAY + WITHOUT_CELL + cif("C1 C 0 0 0", name="last"))
    (tmp_path / "twins.cif").write_text(GOOD + STRAY + GOOD)
    (tmp_path / "void.cif").write_text("data_void\n" + STRAY)
    (batch,) = read(tmp_path).batches()
    assert batch.crystals.ids.tolist() == ["three:good", "three:last", "twins:good#1", "twins:good#2", "two:good"]
    assert [failure.id for failure in batch.failures] == ["three:cut", "two:cut", "void"]
    assert all("pymatgen: " in failure.reason for failure in batch.failures)


def test_an_answer_without_blocks_is_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fallback, "read", lambda _self, _data: [])
    (tmp_path / "x.cif").write_text("data_x\n" + STRAY)
    (tmp_path / "id_prop.csv").write_text("x,1\n")
    for source in (tmp_path / "x.cif", tmp_path):
        (batch,) = read(source).batches()
        assert [failure.id for failure in batch.failures] == ["x"]


SLOW = """
import os, sys, time
out = os.fdopen(os.dup(1), "wb")
def say(text):
    out.write(len(text).to_bytes(8, "big") + text); out.flush()
say(b'{"ready": true}')
while len(head := sys.stdin.buffer.read(8)) == 8:
    body = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    if body == b"hang": time.sleep(600)
    if body == b"die": os._exit(3)
    if body == b"half": out.write(b"1234"); out.flush(); os._exit(0)
    say(b'{"blocks": []}')
"""


def test_worker_that_hangs_or_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cgfast" / "io"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "cif_worker.py").write_text(SLOW)
    monkeypatch.setattr(cif_fallback, "__file__", str(package / "cif_fallback.py"))
    with Fallback(time_limit=1.0) as fallback:
        assert fallback.read(b"fine") == []
        start = time.perf_counter()
        with pytest.raises(Unusable, match="longer than 1 s"):
            fallback.read(b"hang")
        assert time.perf_counter() - start < 5
        assert fallback.read(b"fine") == []
        for death in (b"die", b"half"):
            with pytest.raises(Unusable, match="process died"):
                fallback.read(death)
        assert fallback.read(b"fine") == []


def test_without_pymatgen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pymatgen").mkdir()
    (tmp_path / "pymatgen" / "__init__.py").write_text("raise ImportError('none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "x.cif").write_text("this is no CIF")
    (batch,) = read(tmp_path / "x.cif").batches()
    assert 'pip install "cgfast[pymatgen]"' in batch.failures[0].reason
