"""The same crystals in every format, and the readers that people use for each."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import cgfast

Reader = Callable[[Path], Iterable[Any]]


@dataclass(frozen=True)
class FileFormat:
    """``write`` puts crystals (and the same for pymatgen) under a path; ``peer`` gives them as objects of pymatgen or ASE."""

    name: str
    file: str
    write: Callable[[Path, cgfast.Crystals, list[Any]], None]
    peer_name: str
    peer: Reader


def _parquet(path: Path, crystals: cgfast.Crystals, _: list[Any]) -> None:
    from cgfast.conversion import convert

    convert(crystals, path)


def _read_parquet(path: Path) -> Iterable[Any]:
    import pyarrow.parquet as pq
    from pymatgen.core import Lattice, Structure

    for row in pq.read_table(path).to_pylist():
        lattice = Lattice(row["lattice_vectors"])
        yield Structure(lattice, row["species_at_sites"], row["cartesian_site_positions"], coords_are_cartesian=True)


def _optimade(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
    with path.open("w") as file:
        for k, one in enumerate(structures):
            symbols = [site.specie.symbol for site in one]
            species = [{"name": name, "chemical_symbols": [name], "concentration": [1.0]} for name in dict.fromkeys(symbols)]
            attributes = {
                "lattice_vectors": one.lattice.matrix.tolist(),
                "cartesian_site_positions": one.cart_coords.tolist(),
                "species_at_sites": symbols,
                "species": species,
                "dimension_types": [1, 1, 1],
                "nsites": len(one),
            }
            file.write(json.dumps({"id": str(k), "type": "structures", "attributes": attributes}) + "\n")


def _read_optimade(path: Path) -> Iterable[Any]:
    from pymatgen.core import Lattice, Structure

    with path.open() as file:
        for line in file:
            row = json.loads(line)["attributes"]
            lattice = Lattice(row["lattice_vectors"])
            yield Structure(lattice, row["species_at_sites"], row["cartesian_site_positions"], coords_are_cartesian=True)


_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".json": open}


def _entries(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
    entries = [
        {"@class": "ComputedStructureEntry", "energy": 0.0, "structure": one.as_dict(), "data": {"mat_id": f"m{k}"}}
        for k, one in enumerate(structures)
    ]
    with _OPEN[path.suffix](path, "wt") as file:
        json.dump({"entries": entries}, file)


def _read_entries(path: Path) -> Iterable[Any]:
    from pymatgen.core import Structure

    with _OPEN[path.suffix](path, "rt") as file:
        return [Structure.from_dict(entry["structure"]) for entry in json.load(file)["entries"]]


def _jarvis(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
    rows = [
        {
            "jid": f"JVASP-{k}",
            "atoms": {
                "lattice_mat": one.lattice.matrix.tolist(),
                "coords": one.frac_coords.tolist(),
                "elements": [site.specie.symbol for site in one],
                "cartesian": False,
            },
        }
        for k, one in enumerate(structures)
    ]
    path.write_text(json.dumps(rows))


def _read_jarvis(path: Path) -> Iterable[Any]:
    from pymatgen.core import Lattice, Structure

    for row in json.loads(path.read_text()):
        atoms = row["atoms"]
        yield Structure(Lattice(atoms["lattice_mat"]), atoms["elements"], atoms["coords"])


def _extxyz(path: Path, crystals: cgfast.Crystals, _: list[Any]) -> None:
    import ase.io

    ase.io.write(path, crystals.to_ase(), format="extxyz")


def _read_ase(path: Path) -> Iterable[Any]:
    import ase.io

    return ase.io.iread(path, index=":")


def _database(path: Path, crystals: cgfast.Crystals, _: list[Any]) -> None:
    import ase.db

    with ase.db.connect(path) as database:
        for atoms in crystals.to_ase():
            database.write(atoms)


def _read_database(path: Path) -> Iterable[Any]:
    import ase.db

    with ase.db.connect(path) as database:
        return [row.toatoms() for row in database.select()]


def _lmdb(path: Path, crystals: cgfast.Crystals, structures: list[Any]) -> None:
    pytest.importorskip("ase_db_backends", reason="ase-db-backends, which writes .aselmdb, is not installed")
    _database(path, crystals, structures)


def _poscars(structures: list[Any]) -> Iterable[tuple[str, str]]:
    from pymatgen.io.vasp import Poscar

    for k, one in enumerate(structures):
        yield f"{k:06d}.vasp", str(Poscar(one))


def _cifs(structures: list[Any]) -> Iterable[tuple[str, str]]:
    from pymatgen.io.cif import CifWriter

    for k, one in enumerate(structures):
        yield f"{k:06d}.cif", str(CifWriter(one))


def _folder(texts: Callable[[list[Any]], Iterable[tuple[str, str]]]) -> Callable[..., None]:
    def write(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
        path.mkdir()
        for name, text in texts(structures):
            (path / name).write_text(text)

    return write


def _tar(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, text in _poscars(structures):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


def _zip(path: Path, _: cgfast.Crystals, structures: list[Any]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _cifs(structures):
            archive.writestr(name, text)


def _read_poscars(path: Path) -> Iterable[Any]:
    from pymatgen.io.vasp import Poscar

    return (Poscar.from_file(one, check_for_potcar=False).structure for one in sorted(path.iterdir()))


def _read_tar(path: Path) -> Iterable[Any]:
    from pymatgen.io.vasp import Poscar

    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            yield Poscar.from_str(file.read().decode()).structure


def _read_cifs(path: Path) -> Iterable[Any]:
    from pymatgen.core import Structure

    return (Structure.from_file(one) for one in sorted(path.iterdir()))


def _read_zip(path: Path) -> Iterable[Any]:
    from pymatgen.core import Structure

    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            yield Structure.from_str(archive.read(name).decode(), fmt="cif")


FORMATS = {
    one.name: one
    for one in (
        FileFormat("Parquet", "x.parquet", _parquet, "pyarrow and pymatgen", _read_parquet),
        FileFormat("OPTIMADE JSON Lines", "x.jsonl", _optimade, "json and pymatgen", _read_optimade),
        FileFormat("pymatgen entries, .json", "x.json", _entries, "json and pymatgen", _read_entries),
        FileFormat("pymatgen entries, .json.gz", "x.json.gz", _entries, "json and pymatgen", _read_entries),
        FileFormat("pymatgen entries, .json.bz2", "x.json.bz2", _entries, "json and pymatgen", _read_entries),
        FileFormat("JARVIS list", "x.json", _jarvis, "json and pymatgen", _read_jarvis),
        FileFormat("extended XYZ", "x.extxyz", _extxyz, "ASE", _read_ase),
        FileFormat("ASE .db", "x.db", _database, "ASE", _read_database),
        FileFormat("ASE .aselmdb", "x.aselmdb", _lmdb, "ASE", _read_database),
        FileFormat("folder of POSCAR", "poscars", _folder(_poscars), "pymatgen", _read_poscars),
        FileFormat("tar of POSCAR", "x.tar", _tar, "pymatgen", _read_tar),
        FileFormat("folder of CIF", "cifs", _folder(_cifs), "pymatgen", _read_cifs),
        FileFormat("zip of CIF", "x.zip", _zip, "pymatgen", _read_zip),
    )
}
