"""Extended XYZ (and plain XYZ): one frame after the other, each a number of atoms, a line of ``key=value`` pairs, the atoms.

A frame without ``Lattice`` has open boundaries, as ASE reads it. Frames are streamed; a wrong one is one failure, and
reading goes on where the next frame can be recognised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast import elements
from cgfast.io import xyz_info
from cgfast.io.byte_lines import ByteLines
from cgfast.io.later import ID_NAMES, Later
from cgfast.io.records import Record, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["frames", "looks_like"]

_MAX_ATOMS = 1_000_000
_PART = 1024  # lines
_DEFAULT = "species:S:1:pos:R:3"
_STRUCTURE_KEYS = frozenset({"Lattice", "Properties", "pbc"})


class _Unusable(Exception):  # noqa: N818 - becomes a failure row
    """The frame gives no crystal."""


class _Layout(NamedTuple):
    """Where the columns that are needed stand."""

    species: int
    numeric: bool  # atomic numbers instead of symbols
    positions: int
    width: int


class _Layouts(dict[str, _Layout]):
    """Layouts of the texts of ``Properties``: a file says the same one in every frame."""

    def __missing__(self, text: str) -> _Layout:
        layout = _layout(text)
        if len(self) < 1000:
            self[text] = layout
        return layout


class _Symbols(dict[bytes, str]):
    """Symbols as written -> as they should be: "SI" is silicon, as for ASE."""

    def __missing__(self, written: bytes) -> str:
        symbol = written.decode("utf-8", "replace")
        if not elements.atomic_number(symbol) and elements.atomic_number(symbol.capitalize()):
            symbol = symbol.capitalize()
        if len(self) < 10_000:
            self[written] = symbol
        return symbol


_layouts = _Layouts()
_symbols = _Symbols()


def looks_like(head: bytes) -> bool:
    """Whether a file that begins like this is extended XYZ: a number of atoms, then a line with Lattice or Properties."""
    first, _, rest = head.lstrip().partition(b"\n")
    second = rest.partition(b"\n")[0]
    return first.strip().isdigit() and (b"Lattice=" in second or b"Properties=" in second)


def frames(read: Callable[[int], bytes], name: str) -> Iterator[Record]:
    """The frames of a file, at least one record.

    ``read`` gives the next so many bytes, fewer only at the end. The id of a frame is the first of `later.ID_NAMES` that
    it has; else ``name`` if it is the only one, else ``NAME:0``, ``NAME:1``, ...
    """
    lines = ByteLines(read)
    k = 0
    more = lines.skip_blank()
    if not more and not lines.damage:
        yield failed(name, "the file is empty")
    while more or lines.damage:
        lines.mark()
        try:
            record = _frame(lines, k)
        except _Unusable as error:
            record = failed(None, str(error))
            lines.damage = ""  # it is told now
            _find_next(lines)
        more = lines.skip_blank()
        if record.id is None:
            record = record._replace(id=name if k == 0 and not more and not lines.damage else f"{name}:{k}")
        yield record
        k += 1


def _find_next(lines: ByteLines) -> None:
    """Go to where a frame begins beyond the first lines of this one."""
    lines.rewind(0)
    counted = any(line.strip().isdigit() for line in lines.peek())
    lines.rewind(2 if counted else 1)
    while ahead := lines.peek(3):
        if _begins_frame(ahead):
            return
        lines.take(1)
        lines.mark()


def _begins_frame(ahead: list[bytes]) -> bool:
    if len(ahead) < 3 or not ahead[0].strip().isdigit():
        return False
    if b"Lattice=" in ahead[1] or b"Properties=" in ahead[1]:
        return True
    words = ahead[2].split()
    try:
        return len([float(word) for word in words[1:4]]) == 3
    except ValueError:
        return False


def _frame(lines: ByteLines, k: int) -> Record:
    head = lines.take(2)
    if not head:
        reason = f"the file cannot be read beyond frame {k}: {lines.damage}"
        raise _Unusable(reason)
    first = head[0].strip()
    if k == 0:
        first = first.removeprefix(b"\xef\xbb\xbf")
    if not first.isdigit() or len(first) > 18:
        reason = f"frame {k} begins with {_shown(first)}: expected a number of atoms"
        raise _Unusable(reason)
    n = int(first)
    if not 0 < n <= _MAX_ATOMS:
        reason = f"frame {k} has {n} atoms: expected 1 to {_MAX_ATOMS}"
        raise _Unusable(reason)
    if len(head) < 2:
        reason = f"frame {k} is cut short: expected {n} atoms, found none"
        raise _Unusable(reason)
    info = _info(head[1])
    layout = _layout_of(info)
    species, positions = _columns(_rows(lines, n, layout.width, k), layout, k)
    if lines.skip_blank() and not lines.peek()[0].strip().isdigit():
        reason = f"frame {k} has more lines than its {n} atoms: found {_shown(lines.peek()[0])}"
        raise _Unusable(reason)
    cell, pbc = _cell(info)
    name = next((info[key] for key in ID_NAMES if info.get(key, "T") not in {"", "T"}), None)
    return Record(name, species, positions, cell, pbc=pbc, properties=Later(lambda: _properties(info)))


def _shown(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").strip()[:40])


def _info(line: bytes) -> dict[str, str]:
    text = line.decode("utf-8", "replace").strip()
    return xyz_info.pairs(text) if text else {}


def _layout_of(info: dict[str, str]) -> _Layout:
    try:
        return _layouts[info.get("Properties", _DEFAULT)]
    except ValueError as error:
        raise _Unusable(str(error)) from None


def _layout(text: str) -> _Layout:
    columns, width = xyz_info.columns_of(text)
    species = next((columns[name][0] for name in ("species", "symbols") if name in columns), -1)
    numbers = next((columns[name][0] for name in ("Z", "numbers") if name in columns), -1)
    at, count = next((columns[name] for name in ("pos", "positions") if name in columns), (-1, 0))
    if max(species, numbers) < 0 or count != 3:
        message = f"Properties is {text[:60]!r}: expected columns species (or Z) and pos:R:3"
        raise ValueError(message)
    return _Layout(numbers if numbers >= 0 else species, numbers >= 0, at, width)


def _rows(lines: ByteLines, n: int, width: int, k: int) -> list[list[bytes]]:
    """The words of n lines. Taken in parts, so that a wrong n does not swallow the rest of the file."""
    rows: list[list[bytes]] = []
    while len(rows) < n:
        part = [line.split() for line in lines.take(min(n - len(rows), _PART))]
        if not part:
            reason = f"frame {k} is cut short: expected {n} atoms, found {len(rows)}"
            reason += f" ({lines.damage})" if lines.damage else ""
            raise _Unusable(reason)
        if min(map(len, part)) < width:
            j = next(j for j, row in enumerate(part) if len(row) < width)
            reason = f"atom {len(rows) + j} of frame {k} is {_shown(b' '.join(part[j]))}: expected {width} columns"
            raise _Unusable(reason)
        rows += part
    return rows


def _columns(rows: list[list[bytes]], layout: _Layout, k: int) -> tuple[Any, NDArray[np.float64]]:
    first = layout.positions
    try:
        positions = np.array([list(map(float, row[first : first + 3])) for row in rows])
        if layout.numeric:
            return [int(row[layout.species]) for row in rows], positions
    except ValueError as error:
        reason = f"an atom of frame {k} cannot be read: {error}"
        raise _Unusable(reason) from None
    return [_symbols[row[layout.species]] for row in rows], positions


def _cell(info: dict[str, str]) -> tuple[list[list[float]] | None, Any]:
    pbc = xyz_info.flag(info["pbc"]) if "pbc" in info else None
    if "pbc" in info and pbc is None:
        reason = f"pbc is {info['pbc'][:40]!r}: expected three flags, T or F"
        raise _Unusable(reason)
    if "Lattice" not in info:
        return None, pbc or False
    try:
        values = [float(x) for x in info["Lattice"].replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != 9:
        reason = f"Lattice is {info['Lattice'][:60]!r}: expected nine numbers"
        raise _Unusable(reason)
    return [values[0:3], values[3:6], values[6:9]], pbc or True


def _properties(info: dict[str, str]) -> dict[str, Any]:
    return {name: xyz_info.value_of(text) for name, text in info.items() if name not in _STRUCTURE_KEYS}
