"""pymatgen's dictionaries in every container that people use, against pymatgen's own classes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pymatgen.core")
pytest.importorskip("pyarrow")

from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from cgfast.crystals import Crystals
from cgfast.io import read

if TYPE_CHECKING:
    from pathlib import Path

N = 150


@pytest.fixture(scope="module")
def structures(data: Path) -> list[Structure]:
    """Real crystals, with oxidation states and site properties here and there, and positions that are not wrapped."""
    (batch,) = [next(read(data / "mp_cgcnn_36k.parquet", batch_rows=N).batches())]
    made = batch.crystals.to_pymatgen()
    for k, one in enumerate(made):
        if k % 3 == 0:
            one.add_oxidation_state_by_element({e.symbol: 2.5 for e in one.elements})
        if k % 4 == 0:
            one.add_site_property("magmom", [0.5] * len(one))
        one.properties["spacegroup"] = k
    return made


def check(reader: Any, structures: list[Structure], ids: list[str]) -> None:
    """The reader's crystals are pymatgen's, atom by atom; distances are the same because the vectors are."""
    (batch,) = reader.batches()
    assert batch.failures == []
    want = Crystals.from_pymatgen(structures, ids=ids)
    got = batch.crystals
    for name in ("cell", "pbc", "atomic_numbers", "graph_ptr", "ids"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    np.testing.assert_allclose(got.positions, want.positions, rtol=0, atol=1e-12)


def write(path: Path, content: Any) -> Path:
    data = json.dumps(content).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.bz2", ".json.xz"])
def test_a_list_of_structures(structures: list[Structure], tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"s{suffix}", [s.as_dict() for s in structures])
    reader = read(path)
    check(reader, structures, [str(k) for k in range(N)])
    assert reader.describe()["format"] == "json (pymatgen structures)"
    assert reader.describe()["columns"] == {"spacegroup": "double"}


def test_what_pymatgen_writes_itself(structures: list[Structure], tmp_path: Path) -> None:
    structures[3].to(str(tmp_path / "three.json"))
    check(read(tmp_path / "three.json"), [structures[3]], ["three"])
    (tmp_path / "many").mkdir()
    for k in range(5):
        structures[k].to(str(tmp_path / "many" / f"s{k}.json.gz"))
    check(read(tmp_path / "many"), structures[:5], [f"s{k}" for k in range(5)])


def test_few_details(structures: list[Structure], tmp_path: Path) -> None:
    """``verbosity=0`` leaves out Cartesian positions and lattice parameters; other programs leave out other things."""
    bare = [s.as_dict(verbosity=0) for s in structures]
    check(read(write(tmp_path / "bare.json", bare)), structures, [str(k) for k in range(N)])
    cartesian = [s.as_dict() for s in structures]
    for one in cartesian:
        for site in one["sites"]:
            del site["abc"]
    check(read(write(tmp_path / "xyz.json", cartesian)), structures, [str(k) for k in range(N)])
    parameters = structures[0].as_dict()
    for name in ("matrix", "volume", "pbc"):
        del parameters["lattice"][name]
    (crystals,) = read(write(tmp_path / "abc.json", [parameters]))
    want = Structure.from_dict(parameters)
    np.testing.assert_allclose(crystals.cell[0], want.lattice.matrix, atol=1e-12)


def entries(structures: list[Structure]) -> list[ComputedStructureEntry]:
    return [
        ComputedStructureEntry(
            s,
            -1.5 * k,
            correction=0.25,
            parameters={"run_type": "GGA"},
            data={"mat_id": f"agm{k:06}", "e_above_hull": 0.01 * k, "spg": k, "stable": k == 0, "energy": 7.0},
        )
        for k, s in enumerate(structures)
    ]


@pytest.mark.parametrize("suffix", [".json", ".json.bz2"])
def test_alexandria(structures: list[Structure], tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"alexandria_001{suffix}", {"entries": [e.as_dict() for e in entries(structures)]})
    keep = ["energy", "e_above_hull", "stable", "parameters.run_type", "correction", "spacegroup"]
    reader = read(path, keep=keep)
    check(reader, structures, [f"agm{k:06}" for k in range(N)])
    (batch,) = reader.batches()
    table = batch.columns.to_pydict()
    assert table["energy"] == [-1.5 * k for k in range(N)]  # the entry's own, not the one of its data
    assert table["e_above_hull"] == [0.01 * k for k in range(N)]
    assert table["stable"] == [k == 0 for k in range(N)]
    assert table["parameters.run_type"] == ["GGA"] * N
    assert table["spacegroup"] == list(range(N))
    assert reader.describe()["ids"] == "data.mat_id"


def test_entries_with_ids_of_their_own(structures: list[Structure], tmp_path: Path) -> None:
    made = entries(structures[:3])
    for k, one in enumerate(made):
        one.entry_id = f"e-{k}"
    check(read(write(tmp_path / "list.json", [e.as_dict() for e in made])), structures[:3], ["e-0", "e-1", "e-2"])
    check(read(write(tmp_path / "one.json", made[1].as_dict())), [structures[1]], ["e-1"])
    reader = read(tmp_path / "list.json", columns={"id": "data.mat_id"})
    check(reader, structures[:3], [f"agm{k:06}" for k in range(3)])


def test_mappings(structures: list[Structure], tmp_path: Path) -> None:
    ids = [f"mp-{k}/x" for k in range(N)]
    dicts = [s.as_dict() for s in structures]
    check(read(write(tmp_path / "a.json", dict(zip(ids, dicts, strict=True)))), structures, ids)
    nested = {
        name: {"structure": one, "band_gap": 1.5, "material_id": "not this"} for name, one in zip(ids, dicts, strict=True)
    }
    reader = read(write(tmp_path / "b.json.gz", nested), keep=["band_gap"])
    check(reader, structures, ids)
    assert reader.describe()["ids"] == "key"


def test_mptrj(structures: list[Structure], tmp_path: Path) -> None:
    trajectories: dict[str, Any] = {}
    ids = []
    for k, one in enumerate(structures):
        frame = {"structure": one.as_dict(), "energy_per_atom": -float(k), "force": [[0.0] * 3] * len(one), "magmom": None}
        inner = f"mp-{k // 7}-{k % 7}-0" if k < 100 else f"frame{k}"
        trajectories.setdefault(f"mp-{k // 7}", {})[inner] = frame
        ids.append(inner if k < 100 else f"mp-{k // 7}:{inner}")
    reader = read(write(tmp_path / "MPtrj.json", trajectories), keep=["energy_per_atom"])
    check(reader, structures, ids)
    (batch,) = reader.batches()
    assert batch.columns.column("energy_per_atom").to_pylist() == [-float(k) for k in range(N)]


def test_materials_project_documents(structures: list[Structure], tmp_path: Path) -> None:
    docs = [
        {
            "builder_meta": {"emmet_version": "0.84"},
            "nsites": len(s),
            "elements": ["Na"],
            "symmetry": {"number": k + 1, "symbol": "P1"},
            "material_id": f"mp-{k}",
            "structure": s.as_dict(),
            "is_stable": bool(k % 2),
            "band_gap": None if k % 5 == 0 else 0.5 * k,
        }
        for k, s in enumerate(structures)
    ]
    for content in (docs, {"data": docs, "meta": {"total_doc": N}}):
        reader = read(write(tmp_path / "docs.json", content), keep=["band_gap", "is_stable", "symmetry.number"])
        check(reader, structures, [f"mp-{k}" for k in range(N)])
        (batch,) = reader.batches()
        assert batch.columns.column("band_gap").to_pylist() == [doc["band_gap"] for doc in docs]
        assert batch.columns.column("symmetry.number").to_pylist() == [k + 1 for k in range(N)]
    lines = tmp_path / "docs.jsonl"
    lines.write_text("\n".join(json.dumps(doc) for doc in docs))
    check(read(lines), structures, [f"mp-{k}" for k in range(N)])
    unnamed = tmp_path / "docs.txt.gz"
    unnamed.write_bytes(gzip.compress(lines.read_bytes()))
    check(read(unnamed, format="json"), structures, [f"mp-{k}" for k in range(N)])
    plain = tmp_path / "docs.data"
    plain.write_bytes(lines.read_bytes())
    check(read(plain), structures, [f"mp-{k}" for k in range(N)])  # told by its content


def test_the_structure_has_another_name(structures: list[Structure], tmp_path: Path) -> None:
    docs = [{"k": f"i{k}", "out": {"final": s.as_dict()}, "structure": None} for k, s in enumerate(structures[:4])]
    path = write(tmp_path / "x.json", docs)
    check(read(path, columns={"id": "k", "structure": "out.final"}), structures[:4], ["i0", "i1", "i2", "i3"])
    text = [{"id": f"i{k}", "structure": json.dumps(s.as_dict())} for k, s in enumerate(structures[:4])]
    check(read(write(tmp_path / "y.json", text)), structures[:4], ["i0", "i1", "i2", "i3"])
    with pytest.raises(ValueError, match=r"columns has the keys \['species'\]: expected some of \['id', 'structure'\]"):
        read(path, columns={"species": "x"})


def test_disorder(tmp_path: Path) -> None:
    lattice = Lattice.cubic(4.0)
    disordered = [
        Structure(lattice, [{"Fe": 0.6, "Co": 0.4}, "O"], [[0, 0, 0], [0.5] * 3]),
        Structure(lattice, [{"Fe3+": 0.5, "Fe2+": 0.5}, "O2-"], [[0, 0, 0], [0.5] * 3]),  # iron all the same
        Structure(lattice, [{"Fe": 0.3}, "O"], [[0, 0, 0], [0.5] * 3]),
        Structure(lattice, ["Fe", "O"], [[0, 0, 0], [0.5] * 3]),
    ]
    path = write(tmp_path / "d.json", [s.as_dict() for s in disordered])
    (batch,) = read(path).batches()
    assert batch.rows.tolist() == [1, 3]
    assert "site 0 is disordered (Fe 0.6, Co 0.4)" in batch.failures[0].reason
    (crystals,) = read(path, on_disorder="majority")
    assert [c.atomic_numbers.tolist() for c in crystals] == [[26, 8], [26, 8], [8], [26, 8]]
    with pytest.raises(ValueError, match=r"0: site 0 is disordered .*on_disorder='error'"):
        list(read(path, on_disorder="error"))


def test_slabs_molecules_and_species_that_are_none(tmp_path: Path) -> None:
    slab = Structure(Lattice([[3, 0, 0], [0, 3, 0], [0, 0, 20]], pbc=(True, True, False)), ["Au"], [[0.1, 0.2, 0.3]])
    water = Molecule(["O", "H", "H"], [[0, 0, 0], [0, 0.7, 0.6], [0, -0.7, 0.6]])
    dummy = slab.as_dict()
    dummy["sites"][0]["species"][0]["element"] = "Xx"
    path = write(tmp_path / "x.json", [slab.as_dict(), water.as_dict(), dummy])
    (batch,) = read(path).batches()
    assert batch.crystals.pbc.tolist() == [[True, True, False], [False] * 3]
    np.testing.assert_allclose(batch.crystals.positions[1:], water.cart_coords)
    assert [f.reason for f in batch.failures] == ["species holds 'Xx', which is no element: expected element symbols"]
