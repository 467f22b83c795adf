"""A prototype by its name: one of our own, one of the AFLOW library, or a structure file."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS, atomic_numbers
from cgfast.enumeration.prototype import PROTOTYPES, Prototype

__all__ = ["open_prototype"]

# In the package `pymatgen.analysis`, of this and of earlier versions.
_AFLOW_FILES = ("prototypes/aflow_prototypes.json.gz", "aflow_prototypes.json.gz", "aflow_prototypes.json")


def open_prototype(prototype: str | os.PathLike[str] | Prototype) -> Prototype:
    """What `prototype` names.

    A name of PROTOTYPES; a file with one structure, of any format, whose letters are its elements; or a label, mineral or
    Strukturbericht of the AFLOW library (Mehl et al., Comput. Mater. Sci. 136, S1 (2017)), which pymatgen holds: its letters
    are the elements of the crystal that stands for it.

    Raises:
        ValueError: There is none, or there are several; the message names some that there are.
    """
    if isinstance(prototype, Prototype):
        return prototype
    name = os.fspath(prototype)
    if name.lower() in PROTOTYPES:
        return PROTOTYPES[name.lower()]
    if Path(name).exists():
        return _from_file(name)
    return _from_aflow(name)


def _from_file(path: str) -> Prototype:
    from cgfast.io import read

    batch = next(read(path).batches(), None)
    if batch is None or len(batch.crystals) != 1 or batch.failures:
        reason = f"; {batch.failures[0].reason}" if batch is not None and batch.failures else ""
        msg = f"prototype: {path} holds {0 if batch is None else len(batch.crystals)} structures, expected one{reason}"
        raise ValueError(msg)
    return _of_crystal(Path(path).name.partition(".")[0], batch.crystals)


def _of_crystal(name: str, crystal: Crystals) -> Prototype:
    if not crystal.pbc.all():
        msg = f"prototype: {name} is not periodic on all axes"
        raise ValueError(msg)
    numbers = crystal.atomic_numbers
    counts = {SYMBOLS[z]: int((numbers == z).sum()) for z in dict.fromkeys(numbers.tolist())}
    return Prototype(
        name,
        crystal.cell[0],
        crystal.positions,
        tuple(SYMBOLS[z] for z in numbers),
        {symbol: (SYMBOLS.index(symbol),) * count for symbol, count in counts.items()},
    )


def _from_aflow(name: str) -> Prototype:
    label, _, number = name.partition("#")
    wanted = _folded(label)
    entries: list[dict[str, Any]] = _aflow_library(name)
    for tag in ("aflow", "mineral", "strukturbericht"):
        # a mineral may have several names: "Halite, Rock Salt"
        texts = [(entry, str(entry["tags"][tag])) for entry in entries]
        found = [entry for entry, text in texts if wanted in {*map(_folded, text.split(",")), _folded(text)}]
        if number.isdecimal() and 1 <= int(number) <= len(found):
            found = [found[int(number) - 1]]
        if len(found) > 1:
            minerals = ", ".join(f"{label}#{k} {entry['tags']['mineral']}".strip() for k, entry in enumerate(found, 1))
            msg = f"prototype: {name!r} means {len(found)} prototypes of the AFLOW library: {minerals}"
            raise ValueError(msg)
        if found:
            return _of_crystal(name.replace(" ", "_").replace("/", "_"), _crystal(found[0]["snl"]))
    near = [str(entry["tags"]["mineral"]) for entry in entries if wanted in _folded(str(entry["tags"]["mineral"]))]
    hint = f"; names that hold it: {', '.join(near[:5])}" if near and wanted else ""
    msg = (
        f"prototype: {name!r} is no file, none of {', '.join(PROTOTYPES)}, and no AFLOW label, mineral or "
        f"Strukturbericht of pymatgen's library{hint}"
    )
    raise ValueError(msg)


def _aflow_library(name: str) -> list[dict[str, Any]]:
    """The library's entries. The file is read as it is: importing what pymatgen makes of it takes seconds."""
    try:
        package = importlib.util.find_spec("pymatgen.analysis")
    except ModuleNotFoundError:
        package = None
    if package is None:
        msg = (
            f"prototype: {name!r} is no file and none of {', '.join(PROTOTYPES)}; the AFLOW library comes with pymatgen, "
            'which is not installed; run: pip install "cgfast[pymatgen]"'
        )
        raise ValueError(msg)
    for folder in package.submodule_search_locations or ():
        for file in _AFLOW_FILES:
            path = Path(folder, file)
            if path.is_file():
                text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                entries: list[dict[str, Any]] = json.loads(text)
                return entries
    msg = f"prototype: {name!r} is no file and none of {', '.join(PROTOTYPES)}; this pymatgen holds no AFLOW library"
    raise ValueError(msg)


def _crystal(structure: dict[str, Any]) -> Crystals:
    """The crystal in pymatgen's dictionary of an ordered structure."""
    cell = np.array(structure["lattice"]["matrix"], dtype=np.float64)
    fractions = np.array([site["abc"] for site in structure["sites"]], dtype=np.float64)
    symbols = [site["species"][0]["element"] for site in structure["sites"]]
    return Crystals.from_arrays(fractions @ cell, cell, atomic_numbers(symbols))


def _folded(name: str) -> str:
    return "".join(name.casefold().split())
