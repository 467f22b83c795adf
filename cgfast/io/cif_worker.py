"""The process behind `cif_fallback`: reads CIF text from its input, answers what pymatgen makes of it.

Run as ``python -m cgfast.io.cif_worker``. A message is 8 bytes of length (big-endian) and that many bytes;
answers are JSON. The first answer says whether pymatgen is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from typing import Any, BinaryIO

__all__ = ["main"]

_MEMORY = 4 << 30  # bytes of address space: a hostile file must not take the machine's


def _blocks(text: str) -> list[dict[str, Any]]:
    """An answer for each data block with atoms: pymatgen, given the whole file, would leave out those it cannot read."""
    # pymatgen's own rule for where a block begins, so that it sees what it would have seen
    pieces = re.split(r"^\s*data_", "x\n" + text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    with_atoms = [piece for piece in pieces if re.search(r"_atom_site[_.]fract_x", piece, re.IGNORECASE)]
    if not with_atoms:
        message = "no data block with fractional atom positions"
        raise ValueError(message)
    return [_answer_block(piece) for piece in with_atoms]


def _answer_block(piece: str) -> dict[str, Any]:
    named = re.match(r"\S*", piece)
    name = named.group() if named else ""
    try:
        return {"name": name, "structure": _structure(f"data_{piece}")}
    except MemoryError:
        return {"name": name, "error": "ran out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever pymatgen raises on a hostile file is the answer
        return {"name": name, "error": f"{type(error).__name__}: {error}"[:300]}


def _structure(text: str) -> dict[str, Any]:
    from pymatgen.io.cif import CifParser

    parser: Any = CifParser.from_str(text, occupancy_tolerance=1.05, check_cif=False)
    structure = parser.parse_structures(primitive=False, on_error="raise")[0]
    # pymatgen falls back to P1 where it cannot read the symmetry, which would be another crystal
    named = re.search(r"^\s*_(space_group|symmetry_(space|equiv|int))", text, re.IGNORECASE | re.MULTILINE)
    if named and any("Defaulting to P1" in warning for warning in parser.warnings):
        message = "no symmetry operations could be read"
        raise ValueError(message)
    return {
        "cell": structure.lattice.matrix.tolist(),
        "fractional": structure.frac_coords.tolist(),
        "labels": [site.label for site in structure],
        "contents": [[[int(getattr(e, "Z", 0)), float(x)] for e, x in site.species.items()] for site in structure],
    }


def _answer(text: str) -> dict[str, Any]:
    try:
        return {"blocks": _blocks(text)}
    except MemoryError:
        return {"error": "ran out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever pymatgen raises on a hostile file is the answer
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(8)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 8 else None


def _write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    stream.write(len(body).to_bytes(8, "big") + body)
    stream.flush()


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anyone prints must not mix with the answers
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        import pymatgen.io.cif  # noqa: F401
    except ImportError as error:
        _write(answers, {"ready": False, "error": str(error)})
        return
    _write(answers, {"ready": True})
    while (request := _read(requests)) is not None:
        _write(answers, _answer(request.decode("utf-8", "replace")))


if __name__ == "__main__":
    main()
