"""What happens to crystals that can be predicted but should not go unremarked: flag, skip or error."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from cgfast.elements import SYMBOLS
from cgfast.io.batch import printable
from cgfast.screening.flags import OVERLAP_DISTANCE, Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.models import PropertyModel
    from cgfast.screening.predict import Outcome

CHOICES = ("flag", "skip", "error")


@dataclass(frozen=True, slots=True)
class Policies:
    """What to do with a crystal: "flag" predicts and flags it, "skip" makes it a failure, "error" ends the job.

    on_isolated: some atom has no neighbour inside the cutoff. on_overlap: atoms less than OVERLAP_DISTANCE apart.
    on_unknown_element: an element that was in no training crystal; one that the model has no features for cannot be predicted,
    and "flag" makes it a failure, too.

    Raises ValueError for another word.
    """

    on_isolated: str = "flag"
    on_overlap: str = "flag"
    on_unknown_element: str = "flag"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in CHOICES:
                msg = f"{field.name}: got {value!r}, expected one of {', '.join(CHOICES)}"
                raise ValueError(msg)

    def apply(
        self,
        outcome: Outcome,
        crystals: Crystals,
        rows: NDArray[np.integer] | None,
        models: Sequence[PropertyModel],
        unpredictable: dict[int, tuple[str, str]],
    ) -> None:
        """Make failures of what is to be skipped.

        rows: of the input, for the message; None: the number of the crystal. unpredictable: crystals with elements that a model
        has no features for, and why. Raises ValueError for the first crystal that "error" is about, with its row and id.
        """
        fatal: dict[int, str] = {}
        skipped: dict[int, tuple[str, str]] = {}
        for option, index, stage, reason in self._met(outcome, crystals, models):
            policy = getattr(self, option)
            text = f"{reason} ({option}={policy!r})"
            if policy == "skip":
                skipped.setdefault(index, (stage, text))
            else:
                fatal.setdefault(index, text)
        if self.on_unknown_element == "error":
            for index, (_, reason) in unpredictable.items():
                fatal.setdefault(index, f"{reason} (on_unknown_element='error')")
        if fatal:
            _stop(crystals, rows, min(fatal), fatal[min(fatal)])
        outcome.failures.update(skipped)

    def _met(
        self, outcome: Outcome, crystals: Crystals, models: Sequence[PropertyModel]
    ) -> Iterator[tuple[str, int, str, str]]:
        """Option, crystal, stage and reason of everything that is not only to be flagged."""
        cutoff = min(model.spec.cutoff for model in models)  # an atom alone within a larger one is alone within this, too

        def overlapping(index: int) -> str:
            return f"two atoms are {outcome.shortest[index]:.3g} Å apart, less than {OVERLAP_DISTANCE:g} Å"

        def isolated(index: int) -> str:
            del index
            return f"an atom has no neighbour within {cutoff:g} Å"

        def unseen(index: int) -> str:
            return unseen_elements(crystals[index], models)

        explained: tuple[tuple[str, Flag, str, Callable[[int], str]], ...] = (
            ("on_overlap", Flag.OVERLAP, "graph", overlapping),
            ("on_isolated", Flag.ISOLATED_ATOM, "graph", isolated),
            ("on_unknown_element", Flag.UNSEEN_ELEMENT, "predict", unseen),
        )
        for option, flag, stage, reason in explained:
            if getattr(self, option) != "flag":
                for index in np.flatnonzero(outcome.bits & np.uint16(flag)).tolist():
                    yield option, index, stage, reason(index)


def unseen_elements(crystal: Crystals, models: Sequence[PropertyModel]) -> str:
    """In words: the elements of one crystal that were in no training crystal of each model."""
    found = []
    for model in models:
        domain = getattr(model, "domain", None)
        if domain is not None:
            numbers = np.unique(crystal.atomic_numbers[domain.unseen(crystal.atomic_numbers)]).tolist()
            if numbers:
                found.append(f"no crystal that trained {model.name} holds {', '.join(SYMBOLS[z] for z in numbers)}")
    return "; ".join(found)


def _stop(crystals: Crystals, rows: NDArray[np.integer] | None, index: int, reason: str) -> NoReturn:
    row = index if rows is None else int(rows[index])
    msg = f"row {row} (id {printable(str(crystals.ids[index]))}): {reason}"
    raise ValueError(msg)
