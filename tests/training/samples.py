"""Small labelled crystals made here, and tables and folders of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast import Crystals
from cgfast.io.labelled import LabelledCrystals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SYMBOLS = {3: "Li", 8: "O", 9: "F", 11: "Na", 12: "Mg", 16: "S", 17: "Cl", 19: "K", 26: "Fe"}
TINY: dict[str, Any] = {
    "atom_fea_len": 8,
    "n_conv": 1,
    "h_fea_len": 8,
    "n_h": 1,
    "cutoff": 5.0,
    "max_neighbors": 6,
    "step": 0.5,
    "epochs": 4,
    "batch_size": 8,
    "threads": 1,
}


def crystals(n: int, seed: int = 0) -> Crystals:
    """n rock-salt-like crystals AX, A2X2 or ... of 2 to 4 atoms: cations and anions drawn, a lattice constant near 4 Å."""
    rng = np.random.default_rng(seed)
    positions, cells, numbers, sizes = [], [], [], []
    for _ in range(n):
        a = rng.uniform(3.6, 4.6)
        pairs = int(rng.integers(1, 3))
        frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]])[: 2 * pairs]
        cell = np.diag([a, a, a]) * 1.0
        positions.append((frac + rng.normal(0, 0.01, frac.shape)) @ cell)
        cells.append(cell)
        numbers.extend(np.tile([rng.choice([3, 11, 12, 19, 26]), rng.choice([8, 9, 16, 17])], pairs))
        sizes.append(2 * pairs)
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    return Crystals.from_arrays(
        np.concatenate(positions), np.array(cells), numbers, graph_ptr=ptr, ids=[f"c{k}" for k in range(n)]
    )


def some_values(made: Crystals) -> np.ndarray:
    """(B,) a number that a network can learn: half the lattice constant plus a hundredth of the mean atomic number."""
    mean_z = np.add.reduceat(made.atomic_numbers, made.graph_ptr[:-1]) / np.diff(made.graph_ptr)
    return made.cell[:, 0, 0] / 2 + mean_z / 100


def labelled(n: int = 40, **changes: Any) -> LabelledCrystals:
    """n crystals in memory with a label `y`, and whatever is changed."""
    made = crystals(n)
    fields: dict[str, Any] = {
        "crystals": made,
        "values": some_values(made)[:, None],
        "rows": np.arange(n),
        "failures": [],
        "n_rows": n,
        "labels": ("y",),
        "units": ("eV",),
        "classes": (None,),
        "binary": (False,),
    }
    return LabelledCrystals(**(fields | changes))


def write_table(path: Path, made: Crystals, units: dict[str, str] | None = None, **columns: Any) -> Path:
    """The crystals and columns as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [made.positions[a:b].tolist() for a, b in zip(made.graph_ptr, made.graph_ptr[1:], strict=False)]
    species = [[SYMBOLS[z] for z in made.atomic_numbers[a:b]] for a, b in zip(made.graph_ptr, made.graph_ptr[1:], strict=False)]
    table = pa.table(
        {
            "id": made.ids.tolist(),
            "lattice_vectors": made.cell.tolist(),
            "cartesian_site_positions": parts,
            "species_at_sites": species,
            **columns,
        }
    )
    for name, unit in (units or {}).items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name).with_metadata({"unit": unit}), table.column(name))
    pq.write_table(table, path)
    return path


def slice_table(source: Path, path: Path, rows: Sequence[int] | slice) -> Path:
    """Some rows of a Parquet file, types and units kept."""
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    chosen = range(*rows.indices(len(table))) if isinstance(rows, slice) else rows
    pq.write_table(table.take(list(chosen)), path)
    return path


def write_folder(path: Path, csv: str, names: Sequence[str]) -> Path:
    """The 2018 layout: each name a cubic NaCl of another size."""
    path.mkdir()
    for k, name in enumerate(names):
        a = 4.0 + 0.05 * k
        lengths = "".join(f"_cell_length_{x} {a}\n" for x in "abc")
        head = lengths + "".join(f"_cell_angle_{x} 90\n" for x in ("alpha", "beta", "gamma"))
        sites = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        atoms = "Na1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5\n"
        (path / f"{name}.cif").write_text(f"data_{name}\n{head}{sites}{atoms}")
    (path / "id_prop.csv").write_text(csv)
    return path
