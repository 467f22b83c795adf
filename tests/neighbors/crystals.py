"""Nasty crystals: legal input that neighbour searches have been known to get wrong.

Every generator is deterministic. `CASES` lists single crystals with the cutoff to search them with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Periodic = bool | tuple[bool, bool, bool]


@dataclass(frozen=True)
class Case:
    """One crystal, and the cutoff (Å) that makes it nasty."""

    name: str
    positions: Array
    cell: Array | None
    pbc: Periodic
    cutoff: float
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def search(self) -> tuple[Array, Array | None, Periodic, float]:
        """The positional arguments of neighbor_list."""
        return self.positions, self.cell, self.pbc, self.cutoff

    @property
    def geometry(self) -> tuple[Array, Array | None, Periodic]:
        """The same without the cutoff."""
        return self.positions, self.cell, self.pbc

    @property
    def labels(self) -> NDArray[np.int64]:
        """Atomic numbers, 1 where the case does not care."""
        return self.numbers if len(self.numbers) else np.ones(len(self.positions), np.int64)


def rotation(seed: int) -> Array:
    """Draw a proper rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def random_crystal(seed: int, n: int, cell: Array, spread: float = 1.0) -> Array:
    """Draw n positions in (or, with spread > 1, well around) a cell."""
    fractional = np.random.default_rng(seed).uniform(0.5 - spread / 2, 0.5 + spread / 2, size=(n, 3))
    return fractional @ cell


# ---- textbook lattices: (fractional positions, cell with a = 1, species) ----

PRIMITIVE_FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
PRIMITIVE_BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
HEXAGONAL = np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0], [0.0, 0.0, np.sqrt(8.0 / 3.0)]])
FCC_SITES = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
CUBE = np.eye(3)


def lattice(name: str, a: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Positions (Å), cell (Å) and atomic numbers of a textbook crystal with lattice constant a."""
    quarter = [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]
    tables: dict[str, tuple[Array, list[list[float]], list[int]]] = {
        "sc": (CUBE, [[0, 0, 0]], [84]),
        "fcc": (PRIMITIVE_FCC, [[0, 0, 0]], [29]),
        "fcc-conventional": (CUBE, FCC_SITES, [29] * 4),
        "bcc": (PRIMITIVE_BCC, [[0, 0, 0]], [26]),
        "bcc-conventional": (CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 26]),
        "hcp": (HEXAGONAL, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], [12, 12]),
        "rocksalt": (PRIMITIVE_FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17]),
        "diamond": (PRIMITIVE_FCC, quarter, [6, 6]),
        "zincblende": (PRIMITIVE_FCC, quarter, [30, 16]),
        "cscl": (CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], [55, 17]),
        "perovskite": (
            CUBE,
            [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
            [38, 22, 8, 8, 8],
        ),
    }
    cell, fractional, numbers = tables[name]
    return np.array(fractional, float) @ (cell * a), cell * a, np.array(numbers)


LATTICES = {
    "sc": 3.34,
    "fcc": 3.61,
    "fcc-conventional": 3.61,
    "bcc": 2.87,
    "bcc-conventional": 2.87,
    "hcp": 3.21,
    "rocksalt": 5.64,
    "diamond": 3.567,
    "zincblende": 5.41,
    "cscl": 4.12,
    "perovskite": 3.905,
}


def textbook() -> list[Case]:
    """Lattices full of equal distances, inside the 2018 models' cutoff."""
    cases = []
    for name, a in LATTICES.items():
        positions, cell, numbers = lattice(name, a)
        cases.append(Case(f"lattice-{name}", positions, cell, pbc=True, cutoff=8.0, numbers=numbers))
    return cases


def cutoff_larger_than_cell() -> list[Case]:
    """Make spheres that cover many images, in one, two or three directions."""
    rng = np.random.default_rng(1)
    cube = 4.0 * np.eye(3)
    thin = np.diag([1.3, 9.0, 30.0])
    cases = [Case(f"cube4-cutoff{c}", rng.uniform(0, 4, (3, 3)), cube, True, c) for c in (3.9, 4.4, 6.0, 12.1)]
    cases.append(Case("one-angstrom-cell-cutoff8", np.zeros((1, 3)), np.eye(3), True, 8.0))
    cases.append(Case("thin-cell", random_crystal(2, 5, thin), thin, True, 7.0))
    cases.append(Case("one-atom-fcc", np.zeros((1, 3)), 3.61 * PRIMITIVE_FCC, True, 2.6))
    cases.append(Case("one-atom-cutoff-20", np.full((1, 3), 0.3), 3.0 * np.eye(3), True, 20.0))
    return cases


def skewed() -> list[Case]:
    """Edges much longer than the distance between faces, either handedness."""
    shear = 3.0 * np.array([[1.0, 0.0, 0.0], [7.3, 1.0, 0.0], [-5.1, 9.2, 1.0]])
    needle = np.array([[10.0, 0.0, 0.0], [9.9, 0.9, 0.0], [9.7, 0.5, 0.8]])
    triclinic = np.array([[5.1, 0.3, -0.2], [-1.7, 6.0, 0.9], [2.2, -2.9, 7.4]])
    cases = [
        Case("sheared", random_crystal(3, 6, shear), shear, True, 5.0),
        Case("sheared-mixed", random_crystal(3, 6, shear), shear, (True, False, True), 5.0),
        Case("needle", random_crystal(4, 4, needle), needle, True, 4.0),
        Case("triclinic", random_crystal(5, 12, triclinic), triclinic, True, 6.0),
        Case("triclinic-outside", random_crystal(6, 12, triclinic, 9.0), triclinic, True, 6.0),
    ]
    for name, cell in (
        ("swapped", triclinic[[1, 0, 2]]),
        ("negated", -triclinic),
        ("mirrored", -4.0 * np.eye(3)),
    ):
        cases.append(Case(f"left-handed-{name}", random_crystal(7, 6, cell), cell, True, 5.5))
        cases.append(Case(f"left-handed-{name}-slab", random_crystal(8, 6, cell), cell, (True, False, True), 5.5))
    return cases


def rotated() -> list[Case]:
    """Orthogonal cells that do not lie along x, y, z, with every choice of periodic axes."""
    cell = np.diag([4.0, 5.5, 7.0]) @ rotation(9)
    points = random_crystal(10, 8, cell, 2.5)
    cases = []
    for code in range(8):
        pbc = (bool(code & 4), bool(code & 2), bool(code & 1))
        name = "".join("FT"[p] for p in pbc)
        cases.append(Case(f"rotated-{name}", points, cell, pbc, 6.0))
        skew = cell + np.array([[0.0, 0.0, 0.0], [2.1, 0.4, -1.0], [-3.0, 1.0, 0.5]])
        cases.append(Case(f"rotated-skew-{name}", points, skew, pbc, 6.0))
    return cases


def outside() -> list[Case]:
    """Atoms far from the cell, negative, and some of them very far."""
    cell = np.array([[4.2, 0.0, 0.0], [0.7, 5.0, 0.0], [-1.1, 0.4, 6.3]])
    inside = random_crystal(11, 7, cell)
    rng = np.random.default_rng(12)
    jumps = rng.integers(-9, 10, size=(7, 3)) @ cell
    cases = [
        Case("outside-jumps", inside + jumps, cell, True, 6.5),
        Case("outside-all-negative", inside - 40.0, cell, True, 6.5),
        Case("outside-1e4-cells", inside + 1e4 * jumps, cell, True, 5.0),
        Case("outside-slab", inside + jumps, cell, (True, True, False), 6.5),
        Case("outside-wire", inside + jumps, cell, (False, True, False), 6.5),
        Case("outside-open", inside + 3.0 * jumps, cell, False, 25.0),
        Case("one-atom-at-1e7", np.array([[1e7, -1e7, 3e6]]), cell, True, 6.0),
    ]
    one = inside.copy()
    one[3] += 1e5 * cell[0] - 1e5 * cell[1]
    cases.append(Case("outside-one-stray", one, cell, True, 6.0))
    return cases


def on_faces() -> list[Case]:
    """Coordinates that wrap to exactly 0 or 1, or differ from a face by the last bit."""
    a = 4.0
    tiny = -4e-52
    last = np.nextafter(a, 0.0)
    faces = np.array([[0.0, 0.0, tiny], [a / 2, a, a / 2], [last, a / 2, a / 2], [a / 2, -np.spacing(a), tiny]])
    positions, cell, numbers = lattice("hcp", 3.21)
    nudged = positions + np.where(np.arange(6).reshape(2, 3) % 2 == 0, 1e-15, -1e-15)
    third = np.array([[1 / 3, 1 / 3, 1 / 3], [2 / 3, 2 / 3, 2 / 3], [-1e-17, 1.0 - 1e-16, 1.0]]) @ (3.7 * HEXAGONAL)
    return [
        Case("faces-cube", faces, a * np.eye(3), True, 4.1),
        Case("faces-cube-slab", faces, a * np.eye(3), (True, False, True), 4.1),
        Case("faces-hexagonal", third, 3.7 * HEXAGONAL, True, 6.0),
        Case("hcp-nudged", nudged, cell, True, 3.4, numbers),
        Case("hcp-shifted-to-face", positions - positions[0] + [0.0, tiny, 0.0], cell, True, 3.4, numbers),
        Case("opposite-faces", np.array([[0.0, 1.0, 1.0], [a - 1e-12, 1.0, 1.0]]), a * np.eye(3), True, 4.5),
    ]


def open_axes() -> list[Case]:
    """Slabs, wires, molecules: what is stored for an open axis must not matter."""
    slab = np.array([[3.0, 0.2, 0.0], [0.3, 3.5, 0.1], [0.0, 0.0, 4.0]])
    points = random_crystal(13, 6, slab)
    across = points + np.array([0, 0, 1, -1, 2, -2])[:, None] * slab[2]
    zero_c = slab.copy()
    zero_c[2] = 0.0
    parallel = slab.copy()
    parallel[2] = slab[0] + slab[1]  # in the plane of the periodic axes, yet legal: the axis is open
    molecule = np.random.default_rng(14).normal(scale=3.0, size=(20, 3))
    planar = molecule * [1.0, 1.0, 0.0]
    line = molecule * [0.0, 1.0, 0.0]
    return [
        Case("slab-across-open-face", across, slab, (True, True, False), 6.0),
        Case("slab-zero-vector", across, zero_c, (True, True, False), 6.0),
        Case("slab-parallel-vector", across, parallel, (True, True, False), 6.0),
        Case("slab-huge-vector", across, slab * [[1], [1], [1e9]], (True, True, False), 6.0),
        Case("wire-zero-vectors", across, slab * [[0], [1], [0]], (False, True, False), 6.0),
        Case("molecule-dummy-cell", molecule, np.eye(3), False, 4.0),
        Case("molecule-zero-cell", molecule, np.zeros((3, 3)), False, 4.0),
        Case("molecule-no-cell", molecule, None, False, 4.0),
        Case("molecule-singular-cell", molecule, np.ones((3, 3)), False, 4.0),
        Case("molecule-far-from-origin", molecule + 1e6, None, False, 4.0),
        Case("planar-molecule", planar, None, False, 4.0),
        Case("planar-slab", planar, 20.0 * np.eye(3), (True, True, False), 5.0),
        Case("planar-periodic", planar, 20.0 * np.eye(3), True, 5.0),
        Case("line", line, None, False, 4.0),
        Case("line-wire", line, np.diag([0.0, 15.0, 0.0]), (False, True, False), 5.0),
        Case("stored-vacuum-slab", across * [1, 1, 0.2], slab * [[1], [1], [5.0]], True, 8.0),
    ]


def vacuum() -> list[Case]:
    """Few atoms in huge cells: a grid of cells of the size of the cutoff would not fit into memory."""
    rng = np.random.default_rng(15)
    cluster = rng.normal(scale=2.0, size=(12, 3))
    corners = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 1.0]])
    long = np.diag([3.0, 3.0, 1e6])
    return [
        Case("vacuum-1e4", cluster, 1e4 * np.eye(3), True, 5.0),
        Case("vacuum-1e6-corners", corners, 1e6 * np.eye(3), True, 5.0),
        Case("vacuum-1e9-short-cutoff", cluster, 1e9 * np.eye(3), True, 0.8),
        Case("vacuum-one-axis", cluster * [0.3, 0.3, 1.0], long, True, 5.0),
        Case("vacuum-gas", rng.uniform(0, 1000.0, (300, 3)), 700.0 * np.eye(3), True, 20.0),
        Case("vacuum-lone-atom", np.zeros((1, 3)), 100.0 * np.eye(3), True, 8.0),
        Case("open-two-far-clusters", np.concatenate([cluster, cluster + 1e7]), None, False, 5.0),
    ]


def coincident() -> list[Case]:
    """Atoms on top of one another, or of an image: distance zero is a distance like any other."""
    cell = 3.9 * np.eye(3)
    same = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.5, 1.0, 1.0], [1.0, 1.0, 1.0]])
    return [
        Case("coincident", same, cell, True, 4.5, np.array([8, 8, 1, 26])),
        Case("coincident-image", same + np.array([0, 1, 0, -2])[:, None] * cell[1], cell, True, 4.5),
        Case("coincident-open", same, None, False, 4.5),
        Case("all-coincident", np.zeros((5, 3)), cell, True, 3.0),
        Case("nearly-coincident", np.array([[0.0, 0, 0], [1e-9, 0, 0], [0, 1e-300, 0]]), cell, True, 4.0),
    ]


def dense() -> list[Case]:
    """More neighbours an atom than any guess would allow, or none at all."""
    cube = 6.0 * np.eye(3)
    return [
        Case("dense", random_crystal(16, 150, cube), cube, True, 7.0),
        Case("dense-one-corner", random_crystal(17, 300, cube, 0.05) + 1.0, 40.0 * np.eye(3), True, 2.0),
        Case("no-edges", random_crystal(18, 5, cube), cube, True, 1e-12),
        Case("no-edges-subnormal-cutoff", random_crystal(18, 5, cube), cube, True, 5e-324),
        Case("last-atom-lone", np.array([[0.0, 0, 0], [1.0, 0, 0], [50.0, 0, 0]]), None, False, 2.0),
        Case("no-atoms", np.zeros((0, 3)), cube, True, 5.0),
        Case("no-atoms-open", np.zeros((0, 3)), None, False, 5.0),
    ]


def large() -> list[Case]:
    """Enough atoms for a grid of cells, in every kind of box."""
    cube, flat = 22.0 * np.eye(3), np.array([[30.0, 0.0, 0.0], [11.0, 26.0, 0.0], [-7.0, 9.0, 8.0]])
    turned = np.diag([18.0, 25.0, 21.0]) @ rotation(19)
    sparse = np.random.default_rng(20).uniform(-60, 60, (900, 3))
    return [
        Case("large-cube", random_crystal(21, 700, cube), cube, True, 4.0),
        Case("large-cube-outside", random_crystal(22, 500, cube, 7.0), cube, True, 4.0),
        Case("large-triclinic", random_crystal(23, 600, flat), flat, True, 4.5),
        Case("large-triclinic-thin", random_crystal(24, 500, flat), flat, True, 9.0),
        Case("large-left-handed", random_crystal(25, 500, turned[[0, 2, 1]]), turned[[0, 2, 1]], True, 4.5),
        Case("large-slab", random_crystal(26, 800, turned, 1.6), turned, (True, True, False), 4.5),
        Case("large-wire", random_crystal(27, 800, flat, 1.6), flat, (False, False, True), 4.5),
        Case("large-open", sparse, None, False, 12.0),
        Case("large-open-dummy-cell", sparse, np.eye(3), False, 12.0),
        Case("large-sheared", random_crystal(28, 500, flat @ SHEAR), flat @ SHEAR, True, 4.0),
    ]


SHEAR = np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [-1.5, 2.5, 1.0]])

CASES: list[Case] = [
    *textbook(),
    *cutoff_larger_than_cell(),
    *skewed(),
    *rotated(),
    *outside(),
    *on_faces(),
    *open_axes(),
    *vacuum(),
    *coincident(),
    *dense(),
    *large(),
]


# ---- batches: (positions, cell, pbc, graph_ptr) ----

Batch = tuple[Array, Array, NDArray[np.bool_], NDArray[np.int64]]


def stack(cases: list[Case]) -> Batch:
    """Put single crystals into one batch."""
    cells = [np.zeros((3, 3)) if c.cell is None else c.cell for c in cases]
    pbc = [np.broadcast_to(np.array(c.pbc), (3,)) for c in cases]
    ptr = np.concatenate([[0], np.cumsum([len(c.positions) for c in cases])]).astype(np.int64)
    return (
        np.concatenate([np.zeros((0, 3)), *(c.positions for c in cases)]),
        np.array(cells).reshape(-1, 3, 3),
        np.array(pbc, dtype=bool).reshape(-1, 3),
        ptr,
    )


def batches() -> dict[str, Batch]:
    """Batches that mix what does not belong together; every crystal must come out as if alone."""
    by_name = {case.name: case for case in CASES}
    small = [case for case in CASES if 0 < len(case.positions) <= 30]
    empty = by_name["no-atoms"]
    outlier = [*textbook(), by_name["vacuum-1e6-corners"], by_name["large-cube"], *textbook()]
    return {
        "everything-small": stack(small),
        "empty": stack([]),
        "only-empty-crystals": stack([empty, empty, empty]),
        "empty-crystals-between": stack([empty, by_name["triclinic"], empty, empty, by_name["line"], empty]),
        "one-outlier": stack(outlier),
        "same-place": stack([by_name["triclinic"]] * 4),  # crystals that overlap in space must not see each other
        "gases": stack([by_name["vacuum-lone-atom"], by_name["vacuum-gas"], by_name["last-atom-lone"]]),
    }
