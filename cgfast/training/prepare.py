"""From labelled crystals to what the loop needs: targets, split, scale, graphs. Everything that can be wrong is said here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import SYMBOLS
from cgfast.graph_store import GraphStore
from cgfast.io import Failure
from cgfast.training.batches import BatchPlan
from cgfast.training.formulas import formula_groups
from cgfast.training.splits import (
    PARTS,
    TEST,
    TRAIN,
    VAL,
    shared_with_training,
    split_by_column,
    split_by_fold,
    split_by_groups,
    split_hash,
    split_text,
)
from cgfast.training.targets import training_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from cgfast.crystals import Crystals
    from cgfast.io.labelled import LabelledCrystals
    from cgfast.models.catalogue import Target
    from cgfast.neighbors import GraphSpec
    from cgfast.training.options import TrainOptions
    from cgfast.training.targets import Scale


@dataclass(frozen=True, slots=True)
class Prepared:
    """B labelled crystals ready to train on.

    data: they and their labels. failures: rows of the input that are not used, and why. targets, scale: what is predicted.
    parts: (B,) int8, see splits.PARTS. split: the split as CSV text, split_hash: what tells it from others. fingerprint: what
    tells these crystals and labels from others. elements: symbols that the network has learned, or will. notes: sentences
    worth printing.
    """

    data: LabelledCrystals
    failures: list[Failure]
    targets: tuple[Target, ...]
    scale: Scale
    parts: NDArray[np.int8]
    split: str
    split_hash: str
    fingerprint: str
    n_rows: int
    elements: tuple[str, ...]
    notes: tuple[str, ...]

    def count(self, part: int) -> int:
        """Crystals of a part."""
        return int((self.parts == part).sum())

    def labels(self) -> NDArray[np.float64]:
        """(B, T) in units of the network's output."""
        return self.scale.normalise(self.data.values)

    def build_store(self, spec: GraphSpec, dtype: DTypeLike, threads: int | None) -> GraphStore:
        """The graphs of all crystals."""
        return GraphStore.build(self.data.crystals, spec, dtype=dtype, threads=threads)


def prepare(
    data: LabelledCrystals,
    targets: Sequence[Target],
    options: TrainOptions,
    *,
    max_atomic_number: int,
    scale: Scale | None = None,
    learned: Collection[str] | None = (),
) -> Prepared:
    """Split and check. max_atomic_number: the heaviest element that the network will know. scale: of the targets, None: that of
    the training part. learned: symbols of elements that the network knows from before; None: nobody can say.

    Raises ValueError for no labelled crystal, an empty part, a constant target, and one class only.
    """
    usable, failures = _usable(data, max_atomic_number)
    groups = formula_groups(usable.crystals)
    parts = _split(usable, groups, options)
    own_scale = training_scale(targets, usable.values, parts)
    symbols = _symbols(usable.crystals[np.flatnonzero(parts == TRAIN)])
    text = split_text(usable.crystals.ids.tolist(), usable.rows.tolist(), parts)
    return Prepared(
        usable,
        sorted(failures, key=lambda failure: failure.row),
        tuple(targets),
        own_scale if scale is None else scale,
        parts,
        text,
        split_hash(text),
        _fingerprint(usable),
        data.n_rows,
        tuple(s for s in SYMBOLS if s in symbols | set(learned or ())),
        (
            *data.notes,
            *_notes(groups, parts, options),
            *_unmeasured(targets, usable, parts),
            *([] if learned is None else _unlearned(usable, parts, symbols | set(learned))),
        ),
    )


def batch_plan(store: GraphStore, indices: NDArray[np.int64], options: TrainOptions) -> BatchPlan:
    """Batches of crystals, or bounded by atoms or edges, as the options say."""
    sizes = store.sizes
    if options.batch_atoms is not None:
        return BatchPlan(indices, sizes.atoms[indices], options.batch_atoms)
    if options.batch_edges is not None:
        return BatchPlan(indices, sizes.edges[indices], options.batch_edges)
    return BatchPlan(indices, np.ones(len(indices), np.int64), options.batch_size)


def check_batches(store: GraphStore, parts: NDArray[np.int8], options: TrainOptions, conv: str) -> None:
    """Raise ValueError if a batch of the training would be too small for the batch norms of the convolutions `conv`."""
    chosen = np.flatnonzero(parts == TRAIN)
    plan = batch_plan(store, chosen, options)
    kinds = {"atom": store.sizes.atoms} | ({"edge": store.sizes.edges} if conv == "CrystalGraphConv" else {})
    # Most often the smallest crystals together are large enough.
    smallest = min(map(len, plan.in_order())) if np.all(plan.sizes == 1) else 1
    kinds = {kind: counts for kind, counts in kinds.items() if np.sort(counts[chosen])[:smallest].sum() < 2}
    for seed in range(options.seed, options.seed + options.seeds if kinds else options.seed):
        for epoch in range(options.epochs):
            batches = plan.epoch(seed, epoch)
            starts = np.cumsum([0, *map(len, batches[:-1])])
            for kind, counts in kinds.items():
                if np.any(np.add.reduceat(counts[np.concatenate(batches)], starts) == 1):
                    name = next((n for n in ("batch_atoms", "batch_edges") if getattr(options, n) is not None), "batch_size")
                    msg = (
                        f"{name}: got {getattr(options, name)}, by which a batch of epoch {epoch + 1} has a single {kind}, too "
                        "few for a batch norm; expected larger batches"
                    )
                    raise ValueError(msg)


def _usable(data: LabelledCrystals, max_atomic_number: int) -> tuple[LabelledCrystals, list[Failure]]:
    """The crystals with a label and known elements; the others as failures."""
    crystals = data.crystals
    failures = list(data.failures)
    keep = np.ones(len(data), dtype=bool)
    problems = crystals.problems(max_atomic_number=max_atomic_number)
    for index in np.flatnonzero(np.isnan(data.values).all(axis=1)).tolist():
        problems.setdefault(index, "no label")
    for index, reason in problems.items():
        keep[index] = False
        stage = "label" if reason == "no label" else "read"
        failures.append(Failure(str(crystals.ids[index]), int(data.rows[index]), stage, reason))
    if not keep.any():
        msg = f"data: none of {data.n_rows} rows has a crystal with a label; the first: {failures[0].id}: {failures[0].reason}"
        raise ValueError(msg)
    return (data if keep.all() else data[np.flatnonzero(keep)]), failures


def _split(data: LabelledCrystals, groups: NDArray[np.int64], options: TrainOptions) -> NDArray[np.int8]:
    if options.split == "column":
        name = options.split_column or ""
        if name not in data.extra:  # crystals in memory
            msg = f"split_column: got {name!r}, expected an extra column of data: {', '.join(data.extra) or 'data has none'}"
            raise ValueError(msg)
        return split_by_column(name, data.extra[name])
    if options.split == "fold":
        number, of = options.fold_numbers()
        return split_by_fold(groups, of, number - 1, options.seed)
    if options.split == "random":
        groups = np.arange(len(data), dtype=np.int64)
    return split_by_groups(groups, options.fractions, options.seed)


def _notes(groups: NDArray[np.int64], parts: NDArray[np.int8], options: TrainOptions) -> list[str]:
    shared, n_test = shared_with_training(groups, parts), int((parts == TEST).sum())
    notes = []
    if shared:
        notes.append(
            f"{shared:,} of {n_test:,} test crystals share their formula with a training crystal (split={options.split!r}): "
            "their errors flatter the model; split='grouped' keeps them apart"
        )
    unused = int((parts < 0).sum())
    if unused:
        notes.append(f"{unused:,} labelled crystals belong to no part of the split and are not used")
    return notes


def _unmeasured(targets: Sequence[Target], data: LabelledCrystals, parts: NDArray[np.int8]) -> Iterator[str]:
    """A sentence for each target without a label in the validation part. (Some target has one: each row has a label.)"""
    known = ~np.isnan(data.values[parts == VAL])
    for target, column in zip(targets, known.T, strict=True):
        if not column.any():
            yield f"target {target.data}: the validation part has no label of it, so that it has no say in which epoch is best"


def _symbols(crystals: Crystals) -> set[str]:
    return {SYMBOLS[z] for z in np.unique(crystals.atomic_numbers).tolist()}


def _unlearned(data: LabelledCrystals, parts: NDArray[np.int8], learned: set[str]) -> Iterator[str]:
    """A sentence if val or test have elements that the network does not learn."""
    others = data.crystals[np.flatnonzero((parts == VAL) | (parts == TEST))]
    new = [symbol for symbol in SYMBOLS if symbol in _symbols(others) - learned]
    if new:
        atoms = np.isin(others.atomic_numbers, [SYMBOLS.index(symbol) for symbol in new])
        count = int(np.logical_or.reduceat(atoms, others.graph_ptr[:-1]).sum())
        yield (
            f"{count:,} of {len(others):,} val and test crystals have elements that no training crystal has "
            f"({', '.join(new)}): the model learns nothing of them"
        )


def _fingerprint(data: LabelledCrystals) -> str:
    crystals = data.crystals
    digest = hashlib.sha256()
    for array in (crystals.positions, crystals.cell, crystals.pbc, crystals.atomic_numbers, crystals.graph_ptr, data.values):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def describe_parts(prepared: Prepared) -> str:
    """`1,234 train, 100 val, 100 test`."""
    return ", ".join(f"{prepared.count(part):,} {PARTS[part]}" for part in (TRAIN, VAL, TEST))
