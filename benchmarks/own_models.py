"""Our own models beside the 2018 weights, on the test rows of our splits:   python -m benchmarks.own_models

The split is made again from the recipe in the model's card and must have the hash that the card has. Writes
`benchmarks/results/own-models.json` and the tables between the markers of `docs/models/*.md`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq

import cgfast
from benchmarks import data as shared
from benchmarks import machine
from cgfast.io.labelled import read_labelled
from cgfast.training.options import TrainOptions
from cgfast.training.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgfast.training.prepare import Prepared

ROOT = Path(__file__).parents[1]
RESULTS, CARDS = ROOT / "benchmarks" / "results" / "own-models.json", ROOT / "docs" / "models"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


class Peer(NamedTuple):
    """A 2018 model that answers the same question as the column of ours."""

    column: str
    model: str
    target: str
    listed: str | None = None  # only the rows of this column are what it was made for


class Own(NamedTuple):
    name: str
    table: str
    peers: tuple[Peer, ...] = ()
    paper: dict[str, str] = {}  # noqa: RUF012 - a constant

    @property
    def data(self) -> Path:
        return shared.SHARED / "data" / f"{self.table}.parquet"


OWN = (
    Own(
        "formation-energy",
        "mp_cgcnn_36k",
        (Peer("formation_energy_per_atom_eV", "formation-energy-per-atom", "formation_energy_per_atom_eV"),),
        {"formation_energy_per_atom_eV": "0.039"},
    ),
    Own(
        "electronic",
        "mp_cgcnn_36k",
        (
            Peer("band_gap_eV", "band-gap", "band_gap_eV"),
            Peer("band_gap_eV", "band-gap", "band_gap_eV", "in_cgcnn_27430_list"),
            Peer("fermi_energy_eV", "efermi", "fermi_energy_eV"),
            Peer("metal_probability", "semi-metal-classification", "band_gap_eV<0.001"),
        ),
        {"band_gap_eV": "0.388", "fermi_energy_eV": "0.363"},
    ),
    Own(
        "elasticity",
        "mp_cgcnn_elasticity_3k",
        (
            Peer("log10_bulk_modulus_GPa", "bulk-moduli", "log10(bulk_modulus_GPa)"),
            Peer("log10_shear_modulus_GPa", "shear-moduli", "log10(shear_modulus_GPa)"),
        ),
        {"log10_bulk_modulus_GPa": "0.054", "log10_shear_modulus_GPa": "0.087"},
    ),
    Own("perovskite-heat", "perov5"),
)


def split_again(own: Own, model: Any) -> Prepared:
    """The labelled crystals of the table in the parts that the model was trained with."""
    data = read_labelled(own.data, [target.data for target in model.targets])
    options = TrainOptions.from_dict(model.card["options"])
    prepared = prepare(data, model.targets, options, max_atomic_number=model.max_atomic_number)
    if prepared.split_hash != model.card["split"]["sha256"]:
        message = f"{own.name}: the split of {own.data} has the hash {prepared.split_hash}, not the one in the card"
        raise ValueError(message)
    return prepared


def rows_of_test(prepared: Prepared, own: Own, listed: str | None) -> str:
    """The split as CSV, its test part only where the column `listed` says so."""
    if listed is None:
        return prepared.split
    kept = pq.read_table(own.data, columns=[listed])[listed].to_numpy(zero_copy_only=False)
    head, *lines = prepared.split.splitlines()
    chosen = kept[prepared.data.rows]
    kept_lines = [line if take else line.rsplit(",", 1)[0] + "," for line, take in zip(lines, chosen, strict=True)]
    return "\n".join([head, *kept_lines]) + "\n"


def compare(own: Own) -> Iterable[dict[str, Any]]:
    """Metrics of ours and of the 2018 weights on the same rows."""
    model = cgfast.load_model(f"cgfast/{own.name}")
    prepared = split_again(own, model)
    with tempfile.TemporaryDirectory() as folder:
        for listed in dict.fromkeys([None, *(peer.listed for peer in own.peers)]):
            split = Path(folder) / f"{listed}.csv"
            split.write_text(rows_of_test(prepared, own, listed), encoding="utf-8")
            found = cgfast.evaluate(model, own.data, split=split, part="test")
            ours = {column: {"n": one.n, **found.metrics[column]} for column, one in found.targets.items()}
            peers = [peer for peer in own.peers if peer.listed == listed]
            for column in ours if listed is None else dict.fromkeys(peer.column for peer in peers):
                row = {"model": model.name, "column": column, "rows": listed or "test", "paper": own.paper.get(column)}
                row["ours"] = ours[column]
                for peer in peers:
                    if peer.column == column:
                        theirs = cgfast.evaluate(peer.model, own.data, targets=peer.target, split=split, part="test").metrics
                        row |= {"peer": peer.model, "theirs": next(iter(theirs.values()))}
                yield row


def table_of(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a column and set of rows."""
    lines = [
        "| column | test rows | error | this model | 2018 weights, same rows (seen in training) | paper |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        kinds = ("mae", "rmse", "r2") if "mae" in row["ours"] else ("roc_auc", "accuracy", "f1")
        which = "" if row["rows"] == "test" else f", {row['rows']}"
        for kind in kinds:
            theirs = f"{row['theirs'][kind]:.4f}" if "theirs" in row else ""
            paper = (row["paper"] or "") if kind == "mae" else ""
            count = f"{row['ours']['n']:,}{which}"
            lines.append(f"| `{row['column']}` | {count} | {NAMES[kind]} | {row['ours'][kind]:.4f} | {theirs} | {paper} |")
    return "\n".join(lines)


NAMES = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "roc_auc": "ROC-AUC", "accuracy": "accuracy", "f1": "F1"}


def main() -> None:
    everything = []
    for own in OWN:
        if not (CARDS / f"{own.name}.md").exists():
            print(f"no card for {own.name}")
            continue
        rows = list(compare(own))
        everything += rows
        card = CARDS / f"{own.name}.md"
        before, _, rest = card.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        card.write_text(f"{before}{BEGIN}\n{table_of(rows)}\n{END}{after}", encoding="utf-8")
        print(json.dumps(rows))
    results = {"machine": machine.describe(), "rows": everything}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
