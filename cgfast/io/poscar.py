"""POSCAR and CONTCAR files of VASP.

The format: https://www.vasp.at/wiki/index.php/POSCAR. Atoms keep the order of the file.
"""

from __future__ import annotations

import math
import re
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from cgfast import elements
from cgfast.io.cif import MAX_BYTES
from cgfast.io.records import Record, failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["parse"]

_MAX_SYMBOL_LINES = 100  # VASP breaks the line after 20 species


class _Unusable(Exception):  # noqa: N818 - becomes a failure row
    """The text gives no crystal."""


def parse(data: bytes, name: str | None) -> Record:
    """The structure of a POSCAR file, as a record with the id ``name``; its first line is the property ``comment``.

    Species stand on the sixth line (VASP 5 and later; potential names and hashes as in "Na_pv/6a2f" are cut off). In
    files of VASP 4 they are taken from the ends of the position lines if these are elements, else from the first line if
    that consists of as many elements as there are counts; otherwise the file is a failure.
    """
    if not data.strip():
        return failed(name, "the file is empty")
    if len(data) > MAX_BYTES:
        return failed(name, f"the file has more than {MAX_BYTES >> 20} MiB")
    try:
        return _parse(data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n"), name)
    except _Unusable as error:
        return failed(name, str(error))


def _parse(lines: list[bytes], name: str | None) -> Record:
    if len(lines) < 8:
        reason = f"the file has {len(lines)} lines: expected a comment, a scale, three lattice vectors, counts and positions"
        raise _Unusable(reason)
    cell, scale = _cell(lines)
    symbols, counts, at = _kinds(lines)
    selective = _first_letter(lines, at) == "s"
    at += selective
    mode = _first_letter(lines, at)
    if not mode or mode.isdigit() or mode in "+-.":
        reason = f"line {at + 1} is {_shown(lines, at)}: expected Direct or Cartesian"
        raise _Unusable(reason)
    at += 1
    n = sum(counts)
    if n == 0:
        reason = "the counts of atoms sum to 0"
        raise _Unusable(reason)
    if n > len(lines) - at:
        reason = f"there are {n} atoms by the counts, and {len([x for x in lines[at:] if x.strip()])} lines of positions"
        raise _Unusable(reason)
    rows = [line.split() for line in lines[at : at + n]]
    positions = _positions(rows, at)
    if symbols is None:
        species = _named_by_site(rows, 6 if selective else 3) or _named_by_comment(lines[0], counts)
    else:
        species = list(chain.from_iterable([s] * count for s, count in zip(symbols, counts, strict=True)))
    cartesian = mode in "ck"
    comment = lines[0].strip().decode("utf-8", "replace")
    return Record(
        name, species, positions * scale if cartesian else positions, cell, not cartesian, properties={"comment": comment}
    )


def _shown(lines: list[bytes], at: int) -> str:
    return repr(lines[at].decode("utf-8", "replace").strip()[:40]) if at < len(lines) else "missing"


def _first_letter(lines: list[bytes], at: int) -> str:
    return lines[at].strip()[:1].decode("ascii", "replace").lower() if at < len(lines) else ""


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        try:
            return float(text.lower().replace(b"d", b"e"))  # Fortran's double precision
        except ValueError:
            return math.nan


def _cell(lines: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
    """Lattice vectors in Å, and what Cartesian positions are multiplied by."""
    scales: list[float] = []
    for word in lines[1].split()[:3]:
        value = _number(word)
        if not math.isfinite(value):
            break  # a comment
        scales.append(value)
    if len(scales) not in {1, 3} or 0 in scales or (len(scales) == 3 and min(scales) < 0):
        reason = f"line 2 is {_shown(lines, 1)}: expected one scale that is not 0, or three positive ones"
        raise _Unusable(reason)
    rows = [[_number(word) for word in line.split()[:3]] for line in lines[2:5]]
    for k, row in enumerate(rows):
        if len(row) != 3 or not all(map(math.isfinite, row)):
            reason = f"line {k + 3} is {_shown(lines, k + 2)}: expected a lattice vector of three numbers"
            raise _Unusable(reason)
    cell = np.array(rows)
    if len(scales) == 3:
        factors = np.array(scales)
        return cell * factors, factors
    scale = scales[0]
    if scale < 0:  # the volume, Å³
        a, b, c = rows
        volume = abs(
            a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        if not 0 < volume < math.inf:
            reason = "the lattice vectors span no volume"
            raise _Unusable(reason)
        scale = (-scale / volume) ** (1 / 3)
    return cell * scale, scale


def _words(line: bytes) -> list[str]:
    """Words before a comment."""
    return re.split(r"[!#]", line.decode("utf-8", "replace"), maxsplit=1)[0].split()


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10


def _kinds(lines: list[bytes]) -> tuple[list[str] | None, list[int], int]:
    """Symbols (None in a file of VASP 4), counts, and the line after them."""
    at = 5
    names: list[str] = []
    while at < min(len(lines), 5 + _MAX_SYMBOL_LINES):
        words = _words(lines[at])
        if not words or _is_count(words[0]):
            break
        names += words
        at += 1
    n_lines = max(at - 5, 1)  # counts are broken into lines as symbols are
    words = [word for line in lines[at : at + n_lines] for word in _words(line)]
    if not words or not all(map(_is_count, words)):
        reason = f"line {at + 1} is {_shown(lines, at)}: expected counts of atoms"
        raise _Unusable(reason)
    counts = [int(word) for word in words]
    if not names:
        return None, counts, at + n_lines
    if len(names) != len(counts):
        reason = f"there are {len(names)} species and {len(counts)} counts of atoms: expected as many of one as of the other"
        raise _Unusable(reason)
    symbols = [name.partition("/")[0].partition("_")[0] for name in names]
    wrong = [name for name, symbol in zip(names, symbols, strict=True) if not elements.atomic_number(symbol)]
    if wrong:
        reason = f"{wrong[0][:40]!r} is no element: expected the symbols of the species on line 6"
        raise _Unusable(reason)
    return symbols, counts, at + n_lines


def _positions(rows: list[list[bytes]], at: int) -> NDArray[np.float64]:
    flat = [word for row in rows for word in row[:3]]
    try:
        values = list(map(float, flat))
    except ValueError:
        values = list(map(_number, flat))
    if len(values) != 3 * len(rows) or not all(map(math.isfinite, values)) or min(map(len, rows)) < 3:
        for k, row in enumerate(rows):
            if len(row) < 3 or not all(math.isfinite(_number(word)) for word in row[:3]):
                came = b" ".join(row).decode("utf-8", "replace")[:60]
                reason = f"line {at + k + 1} is {came!r}: expected a position of three numbers"
                raise _Unusable(reason)
    return np.array(values).reshape(-1, 3)


def _named_by_site(rows: list[list[bytes]], column: int) -> list[str] | None:
    """Symbols behind the positions, if each of them is an element."""
    if min(map(len, rows)) <= column:
        return None
    names = [row[column].decode("utf-8", "replace") for row in rows]
    return names if all(map(elements.atomic_number, set(names))) else None


def _named_by_comment(comment: bytes, counts: Sequence[int]) -> list[str]:
    names = _words(comment)
    if len(names) != len(counts) or not all(map(elements.atomic_number, names)):
        reason = "the file does not say which elements these are (VASP 4): expected their symbols on line 6, before the counts"
        raise _Unusable(reason)
    return list(chain.from_iterable([name] * count for name, count in zip(names, counts, strict=True)))
