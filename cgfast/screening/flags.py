"""The words of the column `flags`: what is to be remarked on a prediction."""

from __future__ import annotations

from collections import Counter
from enum import IntFlag, auto
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

OK = "ok"
SEPARATOR = ";"
OVERLAP_DISTANCE = 0.5  # Å; the shortest bond there is, that of H2, has 0.74


class Flag(IntFlag):
    """One bit a flag, in the order in which a cell of the column names them; its word is the name in lower case."""

    MAJORITY_SPECIES = auto()
    OVERLAP = auto()
    ISOLATED_ATOM = auto()
    FEW_NEIGHBORS = auto()
    UNSEEN_ELEMENT = auto()
    UNUSUAL_DISTANCE = auto()
    FAR_EMBEDDING = auto()

    @property
    def word(self) -> str:
        """What the column says."""
        return str(self.name).lower()


MEANINGS: dict[str, str] = {
    OK: "nothing to remark",
    Flag.MAJORITY_SPECIES.word: "the input was disordered: each mixed site holds its most common species (on_disorder)",
    Flag.OVERLAP.word: f"two atoms, or an atom and its image, are less than {OVERLAP_DISTANCE:g} Å apart (on_overlap)",
    Flag.ISOLATED_ATOM.word: "some atom has no neighbour inside the cutoff of a model (on_isolated)",
    Flag.FEW_NEIGHBORS.word: "some atom has fewer neighbours inside the cutoff than a model reads",
    Flag.UNSEEN_ELEMENT.word: "an element that was in no training crystal of a model (on_unknown_element)",
    Flag.UNUSUAL_DISTANCE.word: "nearest neighbours nearer or farther than those of these elements in training",
    Flag.FAR_EMBEDDING.word: "the features of the crystal are farther from the training set's mean than 99.5 % of it",
    "no_hull_reference": "the entries of the hull hold no elemental reference for one of its elements (hull)",
}
ORDER = tuple(MEANINGS)


def flag_texts(bits: NDArray[np.unsignedinteger]) -> list[str]:
    """What the column says of each of (B,) crystals: "ok", or words joined by ";"."""
    found, index = np.unique(bits, return_inverse=True)
    words = np.array([_text(int(one)) for one in found], dtype=object)
    texts: list[str] = words[index].tolist()
    return texts


def _text(bits: int) -> str:
    return SEPARATOR.join(flag.word for flag in Flag if bits & flag) or OK


def count_flags(texts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Rows with each flag, in the order of the vocabulary, "ok" too; from cells of the column and how many rows have them."""
    counts: Counter[str] = Counter()
    for text, n in texts:
        for word in text.split(SEPARATOR):
            counts[word] += n
    return {word: counts[word] for word in sorted(counts, key=_rank)}


def _rank(word: str) -> tuple[int, str]:
    return ORDER.index(word) if word in ORDER else len(ORDER), word
