"""The short way through a CIF gives what the long way gives, bit by bit, and says None to all that is unusual."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("gemmi")

from cgfast.io import cif as cif_reader
from cgfast.io import cif_symmetry, read
from cgfast.io.cif_sites import Structure
from tests.io.cifs import LIKE_PYMATGEN, OCCUPANCY, cif, operations

if TYPE_CHECKING:
    from pathlib import Path

DIAMOND = operations(
    "x,y,z", "-x+3/4,-y+1/4,z+1/2", "-x+1/4,y+1/2,-z+3/4", "x+1/2,-y+3/4,-z+1/4", "z,x,y", "y,z,x", "x,y+1/2,z+1/2"
)
HEXAGONAL = operations("x,y,z", "-y,x-y,z", "-x+y,-x,z", "-x,-y,z+1/2", "y,-x+y,z+1/2", "x-y,x,z+1/2", "y,x,-z", "-x,-y,-z")
TEXTS = {
    **LIKE_PYMATGEN,
    "special positions": cif("C1 C 0.125 0.125 0.125\nO1 O 0.1 0.2 0.3\nN1 N 0.25 0.25 0.25", symmetry=DIAMOND),
    "rounded special positions": cif(
        "Mg1 Mg 0.333 0.667 0.25\nO1 O 0.16654 0.33308 0.1\nH1 H 0.12345678 0.24691356 0.7",
        cell=(3.21, 3.21, 5.21, 90, 90, 120),
        symmetry=HEXAGONAL,
    ),
    "coinciding sites": cif("C1 C 0.1 0.2 0.3 0.5\nSi1 Si 0.10001 0.2 0.3 0.5\nO1 O 0 0 0 1", columns=OCCUPANCY),
    "coinciding after symmetry": cif("C1 C 0.1 0.2 0.3\nO1 O 0.6 0.7 0.3", symmetry=operations("x,y,z", "x+1/2,y+1/2,z")),
    "many atoms": cif(
        "\n".join(f"O{k} O {(k * 7 % 97) / 97:.5f} {k / 150:.5f} 0.5" for k in range(150)), cell=(30,) * 3 + (90,) * 3
    ),
    "many atoms of a group": cif(
        "\n".join(f"O{k} O {(k * 7 % 97) / 97:.5f} {k / 70:.5f} 0.{k:02d}1" for k in range(40)),
        cell=(30, 30, 30, 90, 90, 120),
        symmetry=HEXAGONAL,
    ),
}


def both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[object]]:
    """What the reader makes of a file, and what it makes of it without the short way."""
    answers = []
    for way in (cif_reader.plain, lambda *_: None):
        with monkeypatch.context() as patch:
            patch.setattr(cif_reader, "plain", way)
            answers.append(outcome(text))
    return answers[0], answers[1]


def outcome(text: str) -> list[object]:
    try:
        blocks = cif_reader.parse(text.encode())
    except (cif_reader.Refused, cif_reader.Unusable) as error:
        return [str(error)]
    found: list[object] = []
    for name, content, _ in blocks:
        try:
            if isinstance(content, cif_reader.Refused | cif_reader.Unusable):
                raise content
            found.append((name, cif_reader.finish(content, "majority")))
        except (cif_reader.Refused, cif_reader.Unusable) as error:
            found.append((name, str(error)))
    return found


def assert_equal(ours: list[object], theirs: list[object]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, tuple) and isinstance(one[1], Structure):
            assert isinstance(other, tuple)
            for a, b in zip(one[1], other[1], strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                assert np.array_equal(a, b)
        else:
            assert one == other


@pytest.mark.parametrize("name", TEXTS)
def test_hand_made_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = both(TEXTS[name], monkeypatch)
    assert ours
    assert_equal(ours, theirs)


def test_most_files_take_the_short_way() -> None:
    short = [name for name, text in TEXTS.items() if isinstance(cif_reader.parse(text.encode())[0][1], Structure)]
    assert len(short) > 0.6 * len(TEXTS)
    assert {"special positions", "rounded special positions", "many atoms", "many atoms of a group"} <= set(short)
    assert not {"coinciding sites", "coinciding after symmetry"} & set(short)


TOKENS = ("?", ".", "Xx", "Fe2+", "0.5", "1e9", "nan", "dum", "'a b'", "-1", "O-H", "D", "0.333", "0.66667(2)", "1_0", "Ow")


def mutated(text: str, random_: random.Random) -> str:
    """A file with one thing wrong, or unusual."""
    lines = text.splitlines()
    at = random_.randrange(len(lines))
    how = random_.randrange(6)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, random_.choice(lines))
    elif how == 2 and lines[at].split():
        words = lines[at].split()
        words[random_.randrange(len(words))] = random_.choice(TOKENS)
        lines[at] = "  ".join(words)
    elif how == 3:
        lines = [re.sub(r"\d*\.\d+", lambda found: f"{float(found.group()):.3f}", line) for line in lines]
    elif how == 4:
        lines = [line.replace("_atom_site_type_symbol", random_.choice(["_atom_site_calc_flag", "_x"])) for line in lines]
    else:
        lines = [line.replace("_atom_site_label", random_.choice(["_atom_site.label", "_y"])) for line in lines]
    return "\n".join(lines) + "\n"


def test_files_with_something_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(0)  # noqa: S311 - no secret
    for _ in range(600):
        assert_equal(*both(mutated(random_.choice(list(TEXTS.values())), random_), monkeypatch))


def test_a_repeated_name_takes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    text = cif("C1 C 0.1 0.2 0.3\nO1 O 0 0 0", symmetry="_atom_site_label\nX1\n")
    ours, theirs = both(text, monkeypatch)
    assert "the columns of atom sites differ in length" in str(ours)
    assert_equal(ours, theirs)


def test_real_crystals(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = pytest.importorskip("pymatgen.io.cif").CifWriter
    crystals = next(iter(read(data / "mp_cgcnn_36k.parquet", batch_rows=400)))[::20]
    n_short = 0
    for k, structure in enumerate(crystals.to_pymatgen()):
        text = str(writer(structure, symprec=1e-2 if k % 2 else None))
        ours, theirs = both(text, monkeypatch)
        assert_equal(ours, theirs)
        n_short += isinstance(cif_reader.parse(text.encode())[0][1], Structure)
    assert n_short > 17


@pytest.mark.parametrize("n", [3, 100, 300])
def test_orbits_are_those_of_one_site_at_a_time(n: int) -> None:
    random_ = np.random.default_rng(n)
    rotations, translations = cif_symmetry.parse_operations(re.findall(r"'(.+?)'", DIAMOND + HEXAGONAL))
    fractional = np.round(random_.random((n, 3)) * 24) / 24
    fractional[::3] = random_.random((len(fractional[::3]), 3)).round(3)
    cell = cif_symmetry.cell_from_parameters((8, 8, 9), (90, 90, 120))
    owners, points = cif_symmetry.orbits(fractional, rotations, translations, cell)
    images = np.einsum("mij,sj->smi", rotations, fractional) + translations
    images -= np.floor(images)
    parts = [cif_symmetry._one_orbit(one, cell) for one in images]
    assert np.array_equal(points, np.concatenate(parts))
    assert np.array_equal(owners, np.repeat(np.arange(n), [len(part) for part in parts]))
