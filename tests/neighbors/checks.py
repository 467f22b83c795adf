"""Comparisons of cgfast's neighbour lists with the oracle's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import oracle

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EDGE = 1e-9  # Å: closer to the cutoff (or to a boundary of the order) than this, rounding may decide


def as_edges(result: Any) -> oracle.Edges:
    """Check shapes and dtypes of a NeighborList of NumPy arrays, and return it as the oracle's type."""
    n_edges = result.n_edges
    assert result.edge_index.shape == (2, n_edges)
    assert result.edge_index.dtype == np.int64
    assert result.shifts.shape == (n_edges, 3)
    assert result.shifts.dtype == np.int32
    assert result.distances.shape == (n_edges,)
    assert result.distances.dtype == np.float64
    assert result.row_ptr.dtype == np.int64
    assert np.array_equal(result.source, result.edge_index[0])
    assert np.array_equal(result.target, result.edge_index[1])
    n_atoms = len(result.row_ptr) - 1
    assert np.array_equal(result.row_ptr, oracle.pointers(np.asarray(result.target), n_atoms))
    assert np.all(np.diff(result.target) >= 0)
    weight = result.edge_weight
    if weight is not None:
        assert weight.shape == (n_edges,)
        weight = np.asarray(weight, np.float64)
    return oracle.Edges(
        np.asarray(result.target),
        np.asarray(result.source),
        np.asarray(result.shifts).astype(np.int64),
        np.asarray(result.distances),
        np.asarray(result.row_ptr),
        weight,
    )


def keys(edges: oracle.Edges) -> NDArray[np.int64]:
    """(E, 5) integers (target, source, shift): what an edge is."""
    return np.column_stack([edges.target, edges.source, edges.shifts])


def as_set(edges: oracle.Edges) -> set[tuple[int, ...]]:
    """Collect the edges as a set of (target, source, S)."""
    return set(map(tuple, keys(edges).tolist()))


def assert_no_pair_twice(edges: oracle.Edges) -> None:
    """No (target, source, shift) may come twice."""
    found = keys(edges)
    assert len(np.unique(found, axis=0)) == len(found)


def assert_distances(edges: oracle.Edges, positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike) -> None:
    """Every distance must be the length of positions[source] - positions[target] + S @ cell."""
    xyz, matrix, periodic = oracle.inputs(positions, cell, pbc)
    assert np.all(edges.shifts[:, ~periodic] == 0)
    vectors = xyz[edges.source] - xyz[edges.target] + edges.shifts @ (matrix * periodic[:, None])
    # The wrapped coordinates of an atom far away carry the rounding of the large number they come from.
    scale = max(1.0, float(np.abs(xyz).max(initial=0.0)), float(np.abs(edges.shifts @ matrix).max(initial=0.0)))
    np.testing.assert_allclose(edges.distances, np.linalg.norm(vectors, axis=1), rtol=0, atol=1e-14 * scale)


def assert_same_radius(result: Any, positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike, cutoff: float) -> None:
    """Demand the oracle's edges in the documented order; pairs within 1e-9 Å of the cutoff may differ."""
    got = as_edges(result)
    assert result.edge_weight is None
    assert_equal_lists(got, oracle.radius(positions, cell, pbc, cutoff + EDGE), cutoff)
    assert_distances(got, positions, cell, pbc)


def assert_equal_lists(got: oracle.Edges, want: oracle.Edges, cutoff: float) -> None:
    """Compare two radius lists, the oracle's `want` made with a slightly larger cutoff."""
    certain = want.distances < cutoff - EDGE
    if not np.array_equal(keys(got), keys(oracle.take(want, certain))):
        must, may = as_set(oracle.take(want, certain)), as_set(want)
        found = as_set(got)
        missing, extra = sorted(must - found), sorted(found - may)
        assert not missing, f"{len(missing)} of {len(must)} edges missing, first (target, source, S): {missing[:3]}"
        assert not extra, f"{len(extra)} edges too many, first (target, source, S): {extra[:3]}"
    assert_no_pair_twice(got)
    order = np.lexsort((*got.shifts.T[::-1], got.source, got.target))
    assert np.array_equal(order, np.arange(len(order))), "order is not (target, source, shift)"
    assert len(got.row_ptr) == len(want.row_ptr)


def assert_same_nearest(
    result: Any,
    positions: ArrayLike,
    cell: ArrayLike | None,
    pbc: ArrayLike,
    cutoff: float,
    k: int,
    **options: Any,
) -> int:
    """Compare one crystal's k-nearest list with the oracle's; return the number of undecidable rows."""
    full = oracle.by_distance(oracle.radius(positions, cell, pbc, cutoff + EDGE))
    return assert_trimmed(as_edges(result), full, cutoff, k, **options)


def assert_trimmed(got: oracle.Edges, full: oracle.Edges, cutoff: float, k: int, **options: Any) -> int:
    """Demand the oracle's rows edge by edge, order and weights included.

    `full` is the radius list sorted by distance. A row may differ only where rounding decides: a distance within 1e-9 Å
    of the cutoff, of the boundary between two bins of the order, or of d_k +- tolerance. Such rows are compared by their
    sorted distances, and counted.
    """
    shell = options.get("ties", "canonical") == "shell"
    want = oracle.trim(cut(full, cutoff), cutoff, k, **options)
    assert len(got.row_ptr) == len(want.row_ptr)
    assert (got.weight is not None) == shell
    undecidable = 0
    for row, (a, b) in enumerate(oracle.spans(want.row_ptr)):
        mine = oracle.take(got, np.arange(got.row_ptr[row], got.row_ptr[row + 1]))
        theirs = oracle.take(want, np.arange(a, b))
        if not np.array_equal(keys(mine), keys(theirs)):
            everything = full.distances[full.row_ptr[row] : full.row_ptr[row + 1]]
            assert rounding_decides(everything, cutoff, k, options.get("tolerance", 1e-3) if shell else None), (
                f"row {row}: got {describe(mine)}, expected {describe(theirs)}"
            )
            undecidable += 1
            n = min(len(mine.distances), len(theirs.distances), k)
            np.testing.assert_allclose(np.sort(mine.distances)[:n], np.sort(theirs.distances)[:n], rtol=0, atol=2e-6)
            continue
        np.testing.assert_allclose(mine.distances, theirs.distances, rtol=0, atol=EDGE)
        if mine.weight is not None:
            np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-14)
    return undecidable


def cut(full: oracle.Edges, cutoff: float) -> oracle.Edges:
    """Drop what lies beyond the cutoff from a list made with a slightly larger one."""
    kept = oracle.take(full, np.flatnonzero(full.distances <= cutoff))
    return kept._replace(row_ptr=oracle.pointers(kept.target, len(full.row_ptr) - 1))


def rounding_decides(distances: NDArray[np.float64], cutoff: float, k: int, tolerance: float | None) -> bool:
    """Whether an error of 1e-9 Å in a distance could change the row."""
    bins = distances / oracle.BIN
    doubtful = np.abs(bins - np.floor(bins) - 0.5) < EDGE / oracle.BIN
    doubtful |= np.abs(distances - cutoff) <= EDGE
    if tolerance is not None and len(distances) >= k:
        kth = np.sort(distances)[k - 1]
        doubtful |= np.abs(np.abs(distances - kth) - tolerance) <= 2 * EDGE
    return bool(doubtful.any())


def describe(edges: oracle.Edges) -> str:
    """First edges of a row in words, for a failure message."""
    rows = zip(edges.source.tolist(), edges.shifts.tolist(), edges.distances.tolist(), strict=True)
    return f"{len(edges.source)} edges " + "; ".join(f"{j}{s} {d:.9f}" for j, s, d in list(rows)[:16])


def neighborhoods(edges: oracle.Edges, label: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Sort each atom's rows (label of the source, distance, weight): the graph without indices."""
    weight = np.ones(len(edges.source)) if edges.weight is None else edges.weight
    # By label before distance: rounding may swap equal distances, but never two labels.
    order = np.lexsort((edges.distances, label[edges.source], edges.target))
    columns = np.column_stack([label[edges.source], edges.distances, weight])[order]
    return [columns[a:b] for a, b in oracle.spans(edges.row_ptr)]


def assert_same_neighborhoods(one: list[NDArray[np.float64]], other: list[NDArray[np.float64]], atol: float = 1e-9) -> None:
    """Demand that atom i of one graph sees what atom i of the other sees."""
    assert len(one) == len(other)
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        assert a.shape == b.shape, f"atom {i} has {len(a)} neighbours, expected {len(b)}"
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=f"atom {i}")
