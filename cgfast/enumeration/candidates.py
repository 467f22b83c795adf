"""All decorations of a prototype that are wanted, as numbers: a candidate is an option for each letter."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cgfast.enumeration.charges import Charges
from cgfast.enumeration.site_symmetry import site_permutations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cgfast.enumeration.prototype import Prototype

__all__ = ["Candidates"]

_CHUNK = 65_536
_MAX_COMBINATIONS = 1 << 62


class Candidates:
    """The combinations of the letters' options, less those that are not wanted.

    `options` holds, by letter, what its m sites may hold: (n, m) atomic numbers. Left out are, in this order: combinations
    with one element on two letters (unless `repeats`), those that an isometry of the prototype makes of an earlier one, and
    those that cannot be neutral (with `charge_neutral`). `counts` says how many of each were met so far.

    The first letter changes slowest. Memory does not grow with the number of candidates.
    """

    def __init__(
        self, prototype: Prototype, options: Mapping[str, NDArray[np.intp]], *, repeats: bool, charge_neutral: bool
    ) -> None:
        self.options = dict(options)
        self._arrays = list(options.values())
        self._sizes = [len(array) for array in self._arrays]
        self.n_combinations = 1
        for size in self._sizes:
            self.n_combinations *= size
        if self.n_combinations > _MAX_COMBINATIONS:
            msg = f"sites: {self.n_combinations:.1e} combinations are too many to count"
            raise ValueError(msg)
        self._strides = [int(np.prod(self._sizes[k + 1 :], dtype=np.int64)) for k in range(len(self._sizes))]
        self._shared = [] if repeats else _shared(self._arrays)
        self._swaps = _swaps(prototype, self.options)
        self._charges = Charges(self._arrays) if charge_neutral else None
        self.counts: Counter[str] = Counter()

    def chunks(self) -> Iterator[list[NDArray[np.intp]]]:
        """Candidates in order: for each letter the indices (B,) of its options, B > 0."""
        self.counts = Counter()
        for start in range(0, self.n_combinations, _CHUNK):
            number = np.arange(start, min(start + _CHUNK, self.n_combinations), dtype=np.int64)
            chosen: list[NDArray[np.intp]] = [
                (number // stride) % size for stride, size in zip(self._strides, self._sizes, strict=True)
            ]
            for name, unwanted in (("repeats", self._repeated), ("duplicates", self._duplicate), ("charged", self._charged)):
                out = unwanted(chosen)
                if out is not None:
                    self.counts[name] += int(out.sum())
                    chosen = [index[~out] for index in chosen]
            self.counts["candidates"] += len(chosen[0])
            if len(chosen[0]):
                yield chosen

    def _repeated(self, chosen: Sequence[NDArray[np.intp]]) -> NDArray[np.bool_] | None:
        out = None
        for first, second, table in self._shared:
            same = table[chosen[first], chosen[second]]
            out = same if out is None else out | same
        return out

    def _duplicate(self, chosen: Sequence[NDArray[np.intp]]) -> NDArray[np.bool_] | None:
        out = None
        own = sum(index * stride for index, stride in zip(chosen, self._strides, strict=True))
        for swap in self._swaps:
            image: NDArray[np.int64] = np.zeros(len(chosen[0]), dtype=np.int64)
            inside = np.ones(len(chosen[0]), dtype=bool)
            for target, (source, table) in enumerate(swap):
                index = table[chosen[source]]
                inside &= index >= 0
                image += index * self._strides[target]
            earlier = inside & (image < own)
            out = earlier if out is None else out | earlier
        return out

    def _charged(self, chosen: Sequence[NDArray[np.intp]]) -> NDArray[np.bool_] | None:
        return None if self._charges is None else ~self._charges.neutral(chosen)


def _shared(arrays: Sequence[NDArray[np.intp]]) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """For each pair of letters with an element in common: which pairs of options share one."""
    holds = []
    for array in arrays:
        table = np.zeros((len(array), 119), dtype=bool)
        table[np.arange(len(array))[:, None], array] = True
        holds.append(table)
    pairs = [(a, b, (holds[a].astype(np.float32) @ holds[b].T) > 0) for b in range(len(holds)) for a in range(b)]
    return [pair for pair in pairs if pair[2].any()]


def _swaps(prototype: Prototype, options: Mapping[str, NDArray[np.intp]]) -> list[tuple[tuple[int, NDArray[np.int64]], ...]]:
    """What isometries do to candidates: for each letter, which letter comes there, and as which option (-1: none)."""
    sites = [members.tolist() for members in prototype.sites.values()]
    arrays = [options[name] for name in prototype.sites]
    known = [{tuple(row): k for k, row in enumerate(array.tolist())} for array in arrays]
    letter_of = {site: k for k, members in enumerate(sites) for site in members}
    found: dict[bytes, tuple[tuple[int, NDArray[np.int64]], ...]] = {}
    for permutation in site_permutations(prototype.cell, prototype.positions).tolist():
        comes_from = {target: site for site, target in enumerate(permutation)}
        swap = []
        for target, members in enumerate(sites):
            origins = [comes_from[site] for site in members]
            source = letter_of[origins[0]]
            if {letter_of[site] for site in origins} != {source}:
                break  # parts of letters change places: no such decoration is among the candidates
            order = [sites[source].index(site) for site in origins]
            images = [known[target].get(tuple(row), -1) for row in arrays[source][:, order].tolist()]
            swap.append((source, np.array(images, dtype=np.int64)))
        else:
            key = b"".join(bytes([source]) + table.tobytes() for source, table in swap)
            found[key] = tuple(swap)
    return [
        swap
        for swap in found.values()
        if any(source != target or (table != np.arange(len(table))).any() for target, (source, table) in enumerate(swap))
    ]
