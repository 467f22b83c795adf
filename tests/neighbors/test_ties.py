"""Equal distances at the last place: reproducible cuts, and shells that do not depend on the description."""

from __future__ import annotations

import numpy as np
import pytest

import cgfast

from . import oracle
from .checks import as_edges, assert_same_nearest, assert_same_neighborhoods, keys, neighborhoods
from .crystals import LATTICES, lattice, rotation

# Other choices of the same lattice: integer matrices of determinant +-1.
UNIMODULAR = [
    np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]),
    np.array([[2, 1, 0], [1, 1, 0], [3, -2, 1]]),
    np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    np.array([[1, 4, -3], [0, 1, 5], [0, 0, -1]]),
]


def shell(positions: np.ndarray, cell: np.ndarray, k: int = 12, **options: float) -> oracle.Edges:
    """Compute the weighted k-nearest graph inside 8 Å."""
    return as_edges(cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=k, ties="shell", **options))


@pytest.mark.parametrize("k", [1, 3, 6, 8, 12, 13, 20])
@pytest.mark.parametrize("name", LATTICES)
def test_lattices(name: str, k: int) -> None:
    """Both rules equal the oracle's on lattices made of ties."""
    positions, cell, _ = lattice(name, LATTICES[name])
    for ties in ("canonical", "shell"):
        result = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=k, ties=ties)
        assert_same_nearest(result, positions, cell, True, 8.0, k, ties=ties)


@pytest.mark.parametrize(
    ("name", "k", "weights"),
    [
        ("sc", 12, [1.0] * 6 + [0.5] * 12),
        ("fcc", 12, [1.0] * 12),
        ("fcc", 14, [1.0] * 12 + [2 / 6] * 6),
        ("bcc", 12, [1.0] * 8 + [4 / 6] * 6),
        ("diamond", 12, [1.0] * 4 + [8 / 12] * 12),
        ("rocksalt", 12, [1.0] * 6 + [6 / 12] * 12),
        ("cscl", 3, [3 / 8] * 8),
    ],
)
def test_weights_of_textbook_lattices(name: str, k: int, weights: list[float]) -> None:
    """The edges of the last shell share the places that are left."""
    positions, cell, _ = lattice(name, LATTICES[name])
    edges = shell(positions, cell, k)
    assert edges.weight is not None
    for a, b in oracle.spans(edges.row_ptr):
        np.testing.assert_allclose(edges.weight[a:b], weights, rtol=1e-14)


@pytest.mark.parametrize("name", LATTICES)
def test_weights_sum_to_k(name: str) -> None:
    """Whatever the shell, a full row weighs k; a padded short row weighs k too, a short row its length."""
    positions, cell, _ = lattice(name, LATTICES[name])
    for k in (1, 5, 12, 17):
        edges = shell(positions, cell, k)
        np.testing.assert_allclose(np.add.reduceat(edges.weight, edges.row_ptr[:-1]), k, rtol=1e-12)
    for missing, total in (("drop", None), ("pad-2018", 12.0)):
        result = cgfast.neighbor_list(positions, cell, True, 2.0, max_neighbors=12, ties="shell", missing=missing)
        lengths = np.diff(result.row_ptr)
        sums = np.bincount(result.target, weights=result.edge_weight, minlength=len(positions))
        np.testing.assert_allclose(sums, lengths if total is None else total)


@pytest.mark.parametrize("name", LATTICES)
def test_shell_does_not_depend_on_the_description(name: str) -> None:
    """Supercell, other lattice vectors, rotation, permutation, a strain of 1e-9: the same weighted graph."""
    positions, cell, numbers = lattice(name, LATTICES[name])
    n = len(positions)
    want = neighborhoods(shell(positions, cell), numbers)

    repeats = (2, 1, 3)
    big_positions, big_cell = oracle.supercell(positions, cell, repeats)
    assert_same_neighborhoods(neighborhoods(shell(big_positions, big_cell), np.tile(numbers, 6)), want * 6)

    for matrix in UNIMODULAR:
        assert_same_neighborhoods(neighborhoods(shell(positions, matrix @ cell), numbers), want)

    turn = rotation(5)
    turned = neighborhoods(shell(positions @ turn + [3.0, -2.0, 77.7], cell @ turn), numbers)
    assert_same_neighborhoods(turned, want)

    order = np.random.default_rng(6).permutation(n)
    permuted = neighborhoods(shell(positions[order], cell), numbers[order])
    assert_same_neighborhoods(permuted, [want[i] for i in order])

    strain = np.eye(3) + 1e-9 * np.random.default_rng(7).normal(size=(3, 3))
    strained = neighborhoods(shell(positions @ strain, cell @ strain), numbers)
    assert_same_neighborhoods(strained, want, atol=1e-7)


def test_conventional_and_primitive_cells() -> None:
    """Face- and body-centred cubes give the same neighbourhood from one atom a cell as from four or two."""
    for one, many in (("fcc", "fcc-conventional"), ("bcc", "bcc-conventional")):
        positions, cell, numbers = lattice(one, LATTICES[one])
        primitive = neighborhoods(shell(positions, cell), numbers)
        positions, cell, numbers = lattice(many, LATTICES[one])
        assert_same_neighborhoods(neighborhoods(shell(positions, cell), numbers), primitive * len(numbers))


def test_tolerance_decides_what_is_tied() -> None:
    """Neighbours 0.5 mÅ apart share a place with 1e-3 Å, and do not with 1e-4 Å or 0."""
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0], [0, 2.0005, 0], [0, 0, 2.002], [-1.0, 0, 0]])
    for tolerance, rows in (
        (1e-3, [(1.0, 1.0), (2.0, 0.5), (2.0005, 0.5)]),
        (1e-4, [(1.0, 1.0), (2.0, 1.0)]),
        (0.0, [(1.0, 1.0), (2.0, 1.0)]),
        (3e-3, [(1.0, 1.0), (2.0, 1 / 3), (2.0005, 1 / 3), (2.002, 1 / 3)]),
    ):
        result = cgfast.neighbor_list(positions, None, False, 5.0, max_neighbors=2, ties="shell", tolerance=tolerance)
        first = slice(0, result.row_ptr[1])
        assert list(zip(result.distances[first], result.edge_weight[first], strict=True)) == [
            pytest.approx(row) for row in rows
        ]


@pytest.mark.parametrize("tolerance", [1e-3, 2.5e-4, 0.05])
def test_edges_of_the_tolerance(tolerance: float) -> None:
    """Within 10^-8 Å of d_k +- tolerance, on the inside and on the outside."""
    for below, above, row in (
        (1 - 1e-5, 1 - 1e-5, [2 / 3] * 3),
        (1 + 1e-5, 1 - 1e-5, [1.0, 0.5, 0.5]),
        (1 - 1e-5, 1 + 1e-5, [1.0, 1.0]),
    ):
        positions = np.zeros((4, 3))
        positions[1, 0], positions[2, 1], positions[3, 2] = 3.0 - below * tolerance, 3.0, 3.0 + above * tolerance
        result = cgfast.neighbor_list(positions, None, False, 6.0, max_neighbors=2, ties="shell", tolerance=tolerance)
        np.testing.assert_allclose(result.edge_weight[: result.row_ptr[1]], row)


def test_tied_neighbours_closer_than_the_kth() -> None:
    """Edges within the tolerance below d_k are tied as well, not only those above."""
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0], [0, 2.0006, 0], [0, 0, 2.0012], [1.0, 0, 0]])
    result = cgfast.neighbor_list(positions, None, False, 5.0, max_neighbors=3, ties="shell")
    # d_k = 2.0006: 2.0 and 2.0012 are both within 1e-3 of it; one neighbour is closer, two places are left.
    np.testing.assert_allclose(result.edge_weight[: result.row_ptr[1]], [1.0, 2 / 3, 2 / 3, 2 / 3])


def test_shell_ends_at_the_cutoff() -> None:
    """A tied neighbour beyond the cutoff is no neighbour, and takes no share."""
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 4.9998, 0], [0, 0, 5.0003]])
    result = cgfast.neighbor_list(positions, None, False, 5.0, max_neighbors=2, ties="shell")
    row = slice(0, result.row_ptr[1])
    assert result.source[row].tolist() == [1, 2]
    assert result.edge_weight[row].tolist() == [1.0, 1.0]


def test_shell_just_outside_the_first_guess() -> None:
    """Members of the shell on both sides of any radius that a growing search may have stopped at."""
    cell = 12.0 * np.eye(3)
    for scale in np.linspace(0.9, 1.4, 60):
        ring = scale * 2.0 + np.array([-4e-4, 0.0, 4e-4, 3e-4, -2e-4, 1e-4])
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        positions = np.concatenate([np.zeros((1, 3)), axes * ring[:, None]]) + 6.0
        result = cgfast.neighbor_list(positions, cell, True, 6.0, max_neighbors=2, ties="shell")
        assert_same_nearest(result, positions, cell, True, 6.0, 2, ties="shell")


def test_canonical_order_of_ties() -> None:
    """Equal distances are cut in (source, shift) order, whatever the path or number of threads."""
    positions, cell, _ = lattice("sc", 3.0)
    result = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=4)
    assert result.shifts.tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 0, 1]]
    positions, cell, _ = lattice("rocksalt", 5.64)
    result = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=8)
    assert result.source[:8].tolist() == [1] * 6 + [0] * 2


def test_distances_that_differ_by_rounding_only() -> None:
    """Noise of 1e-13 Å on the positions does not change which of the tied neighbours are taken."""
    rng = np.random.default_rng(8)
    for name in ("fcc-conventional", "bcc-conventional", "perovskite", "cscl"):
        positions, cell, _ = lattice(name, 4.0)  # shells at 4, 4 / sqrt(2) ...: far from a boundary of the bins
        clean = as_edges(cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=12))
        for _ in range(5):
            noisy = positions + rng.normal(scale=1e-13, size=positions.shape)
            got = as_edges(cgfast.neighbor_list(noisy, cell, True, 8.0, max_neighbors=12))
            assert np.array_equal(keys(got), keys(clean))
