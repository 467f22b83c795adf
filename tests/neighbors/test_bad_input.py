"""Input that cannot be searched: a ValueError that names the argument, what came and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cgfast

POSITIONS = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
CELL = 5.0 * np.eye(3)


def search(**changes: Any) -> Any:
    """Search a good crystal with some arguments replaced."""
    arguments: dict[str, Any] = {"positions": POSITIONS, "cell": CELL, "pbc": True, "cutoff": 3.0, **changes}
    return cgfast.neighbor_list(**arguments)


def search_batch(**changes: Any) -> Any:
    """Search a good batch of two crystals with some arguments replaced."""
    good = {"cell": np.stack([CELL, CELL]), "pbc": np.ones((2, 3), bool), "graph_ptr": np.array([0, 1, 3])}
    return search(**{**good, **changes})


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    """Copy an array and overwrite its last element."""
    copy = array.astype(float)
    copy.flat[-1] = value
    return copy


def test_the_good_input_is_good() -> None:
    """The tests below change one thing each in input that works."""
    assert search().n_edges > 0
    assert search_batch().n_edges > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "array"), [("positions", POSITIONS), ("cell", CELL)])
def test_not_finite(name: str, array: np.ndarray, value: float) -> None:
    """NaN or infinity anywhere, for k-nearest and radius lists alike."""
    for options in ({}, {"max_neighbors": 2}):
        with pytest.raises(ValueError, match=name) as caught:
            search(**{name: with_value(array, value)}, **options)
        assert "finite" in str(caught.value)


def test_not_finite_is_located_in_a_batch() -> None:
    """The message says which crystal (or atom) of a batch is bad."""
    cells = np.stack([CELL, with_value(CELL, np.nan)])
    with pytest.raises(ValueError, match=r"cell.*1"):
        search_batch(cell=cells)
    with pytest.raises(ValueError, match=r"positions.*2"):
        search_batch(positions=with_value(POSITIONS, np.nan))


def test_rows_of_open_axes_are_ignored() -> None:
    """Whatever an open axis holds, zeros included, is no error."""
    want = search(cell=CELL, pbc=(True, True, False)).distances
    for row in (np.zeros(3), CELL[0], CELL[0] + CELL[1], np.full(3, 1e300)):
        cell = CELL.copy()
        cell[2] = row
        np.testing.assert_allclose(search(cell=cell, pbc=(True, True, False)).distances, want)


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), True),
        (np.ones((3, 3)), True),
        (np.diag([5.0, 5.0, 0.0]), True),
        (np.array([[5.0, 0, 0], [0, 5.0, 0], [5.0, 5.0, 0]]), True),
        (np.array([[5.0, 0, 0], [10.0, 0, 0], [0, 0, 5.0]]), (True, True, False)),
        (np.diag([5.0, 0.0, 5.0]), (False, True, False)),
    ],
    ids=["zeros", "ones", "no-c", "coplanar", "parallel-periodic", "wire-without-vector"],
)
def test_no_volume(cell: np.ndarray, pbc: bool | tuple[bool, ...]) -> None:
    """Lattice vectors of the periodic axes must be independent."""
    for options in ({}, {"max_neighbors": 2}):
        with pytest.raises(ValueError, match="cell"):
            search(cell=cell, pbc=pbc, **options)


def test_no_volume_is_located_in_a_batch() -> None:
    """The message names the crystal without a volume."""
    with pytest.raises(ValueError, match=r"cell.*1"):
        search_batch(cell=np.stack([CELL, np.ones((3, 3))]))


@pytest.mark.parametrize("pbc", [True, (True, False, False)])
def test_no_cell_with_periodic_axes(pbc: bool | tuple[bool, ...]) -> None:
    """`cell=None` means a molecule."""
    with pytest.raises(ValueError, match="cell"):
        search(cell=None, pbc=pbc)


@pytest.mark.parametrize("shape", [(3,), (9,), (3, 2), (1, 3, 3), (3, 3, 1), (3, 4)])
def test_shape_of_positions(shape: tuple[int, ...]) -> None:
    """Positions are (N, 3)."""
    with pytest.raises(ValueError, match="positions") as caught:
        search(positions=np.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (9,), (2, 3), (3, 2), (6,), (2, 3, 3)])
def test_shape_of_cell(shape: tuple[int, ...]) -> None:
    """One crystal has a (3, 3) cell; cell lengths and angles are refused."""
    with pytest.raises(ValueError, match="cell") as caught:
        search(cell=np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("pbc", [(True, True), (True,) * 4, [[True] * 3] * 2])
def test_shape_of_pbc(pbc: Any) -> None:
    """Periodicity is one boolean or three."""
    with pytest.raises(ValueError, match="pbc"):
        search(pbc=pbc)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, -1e-300, np.nan, np.inf, -np.inf])
def test_cutoff(cutoff: float) -> None:
    """A cutoff is positive, and finite where there are images."""
    for options in ({}, {"max_neighbors": 2}):
        with pytest.raises(ValueError, match="cutoff") as caught:
            search(cutoff=cutoff, **options)
        assert str(cutoff) in str(caught.value)


@pytest.mark.parametrize("cutoff", ["3", None, [3.0, 4.0], 3j])
def test_cutoff_is_a_number(cutoff: Any) -> None:
    """Text, None, a list or a complex number is no cutoff."""
    with pytest.raises((ValueError, TypeError), match="cutoff"):
        search(cutoff=cutoff)


@pytest.mark.parametrize("value", [0, -1, 2.5, np.nan, "12"])
def test_max_neighbors(value: Any) -> None:
    """A positive integer, or None."""
    with pytest.raises(ValueError, match="max_neighbors") as caught:
        search(max_neighbors=value)
    assert str(value) in str(caught.value)


def test_max_neighbors_of_any_integer_type() -> None:
    """NumPy's integers are integers."""
    want = search(max_neighbors=2).edge_index
    for value in (np.int64(2), np.int32(2), np.uint8(2)):
        assert np.array_equal(search(max_neighbors=value).edge_index, want)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ties", "shells"),
        ("ties", ""),
        ("ties", None),
        ("missing", "pad"),
        ("missing", None),
        ("sort", "length"),
    ],
)
def test_unknown_word(name: str, value: Any) -> None:
    """The message repeats the word and lists those that are known."""
    for options in ({}, {"max_neighbors": 2}):
        with pytest.raises(ValueError, match=name) as caught:
            search(**{name: value}, **options)
        message = str(caught.value)
        assert repr(value) in message
        assert {"ties": "shell", "missing": "pad-2018", "sort": "distance"}[name] in message


@pytest.mark.parametrize("tolerance", [-1e-3, np.nan, np.inf])
def test_tolerance(tolerance: float) -> None:
    """A tolerance is zero or more."""
    with pytest.raises(ValueError, match="tolerance") as caught:
        search(max_neighbors=2, ties="shell", tolerance=tolerance)
    assert str(tolerance) in str(caught.value)


@pytest.mark.parametrize("threads", [0, -2, 1.5, "two"])
def test_threads(threads: Any) -> None:
    """A positive integer, or None."""
    with pytest.raises(ValueError, match="threads") as caught:
        search(threads=threads)
    assert str(threads) in str(caught.value)


@pytest.mark.parametrize(
    "graph_ptr",
    [
        [0, 2, 1, 3],
        [1, 2, 3],
        [0, 1, 2],
        [0, 1, 4],
        [0, -1, 3],
        [],
        [[0, 1, 3]],
        [0.0, 1.5, 3.0],
    ],
    ids=[
        "not-monotone",
        "not-from-0",
        "too-few-atoms",
        "too-many-atoms",
        "negative",
        "empty",
        "2-d",
        "fractions",
    ],
)
def test_graph_ptr(graph_ptr: list[Any]) -> None:
    """Offsets run from 0 to N without a step back."""
    n = max(np.size(graph_ptr) - 1, 0)
    with pytest.raises(ValueError, match="graph_ptr"):
        search(cell=np.tile(CELL, (n, 1, 1)), pbc=True, graph_ptr=np.array(graph_ptr))


def test_lengths_of_a_batch() -> None:
    """Cells, periodicity and offsets speak of the same number of crystals."""
    with pytest.raises(ValueError, match=r"cell|graph_ptr"):
        search_batch(cell=np.stack([CELL] * 3))
    with pytest.raises(ValueError, match="pbc"):
        search_batch(pbc=np.ones((3, 3), bool))
    with pytest.raises(ValueError, match=r"cell|pbc|graph_ptr"):
        search_batch(graph_ptr=np.array([0, 3]))


def test_shifts_beyond_int32() -> None:
    """An atom more than 2^31 cells away has no shift in int32: an error, never a wrapped number."""
    positions = np.array([[0.0, 0.0, 0.0], [1e11, 0.0, 0.0]])
    with pytest.raises(ValueError, match="positions"):
        search(positions=positions, cell=np.eye(3), cutoff=1.5)


@pytest.mark.parametrize("positions", [np.array([["a", "b", "c"]]), np.array([[1j, 0, 0]]), None])
def test_positions_are_numbers(positions: Any) -> None:
    """Text and complex numbers are refused, not cast."""
    with pytest.raises((ValueError, TypeError), match="positions"):
        search(positions=positions)


@pytest.mark.parametrize(
    "changes",
    [{"cutoff": 0.0}, {"max_neighbors": 0}, {"ties": "all"}, {"missing": "zero"}, {"tolerance": -1.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_graph_spec_refuses_the_same(changes: dict[str, Any]) -> None:
    """A GraphSpec that no search could serve cannot be made."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        cgfast.GraphSpec(**changes)
