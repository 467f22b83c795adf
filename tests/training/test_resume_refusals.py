"""What cannot go on is said in one sentence, and nothing in the folder is touched."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
import torch

import cgfast
from cgfast.io.labelled import read_labelled
from cgfast.training import TrainingResult, resume, train
from cgfast.training.run import run_plan
from cgfast.training.run_folder import RunFolder
from cgfast.training.source import Source
from tests.training.runs import stop_at
from tests.training.samples import TINY, crystals, labelled, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(50)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y))


class TestRefusals:
    @pytest.fixture
    def cut(self, table: Path, tmp_path: Path) -> Path:
        with pytest.raises(KeyboardInterrupt):
            train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(3), **TINY)
        return tmp_path / "cut"

    def unchanged(self, folder: Path, match: str, **arguments: Any) -> None:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=match) as error:
            resume(folder, **arguments)
        assert "\n" not in str(error.value)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_no_run(self, tmp_path: Path) -> None:
        self.unchanged(tmp_path, r"resume: .* holds no run \(there is no run.json\)")
        with pytest.raises(ValueError, match="holds no run"):
            resume(tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()
        for place in (None, 3):
            with pytest.raises(ValueError, match=f"resume: got {place}, expected the name of a folder"):
                resume(place)

    @pytest.mark.parametrize("contents", [b"", b"{", b"[]", b"{}", b'{"format": "x", "version": 1}', b"\xff\xfe", b"null"])
    def test_a_plan_that_is_none(self, cut: Path, contents: bytes) -> None:
        (cut / "run.json").write_bytes(contents)
        self.unchanged(cut, "resume: .*run.json cannot be read as a run")

    def test_a_newer_plan(self, cut: Path) -> None:
        plan = json.loads((cut / "run.json").read_text())
        (cut / "run.json").write_text(json.dumps(plan | {"version": 99}))
        self.unchanged(cut, "version 99, expected cgfast-run up to 1")

    def test_another_plan(self, cut: Path, table: Path, tmp_path: Path) -> None:
        """Who calls with a plan of his own (a study does) must not go on with another one."""
        plan = RunFolder(cut).read_plan()
        data = read_labelled(table, ["y"])
        for change, said in (
            ({"epochs": 9}, "epochs is 9, but the run in .* began with 4"),
            ({"max_neighbors": None}, "max_neighbors is None, but the run in .* began with 6"),
        ):
            other = dataclasses.replace(plan, options=dataclasses.replace(plan.options, **change))
            with pytest.raises(ValueError, match=said):
                run_plan(other, RunFolder(cut), data, on_start=None, on_epoch=None)
        same = dataclasses.replace(plan, options=dataclasses.replace(plan.options, threads=2), card={"licence": "MIT"})
        moved = table.rename(tmp_path / "moved.parquet")
        same = dataclasses.replace(same, source=Source.of(moved))
        found = run_plan(same, RunFolder(cut), read_labelled(moved, ["y"]), on_start=None, on_epoch=None)
        assert found.model.card["licence"] == "MIT"

    def test_a_run_of_before(self, cut: Path, table: Path, tmp_path: Path) -> None:
        """Entries of an identity that the first runs did not write may be missing; data and split may not."""
        atoms = tmp_path / "atoms.json"
        atoms.write_text(json.dumps({str(z): [z / 10, 1.0] for z in range(1, 93)}))
        with pytest.raises(KeyboardInterrupt):
            train(table, "y", out=tmp_path / "old", atom_init=atoms, on_epoch=stop_at(3), **TINY)
        plan = json.loads((tmp_path / "old" / "run.json").read_text())
        del plan["identity"]["atom_init"]
        (tmp_path / "old" / "run.json").write_text(json.dumps(plan))
        resume(tmp_path / "old")
        plan = json.loads((cut / "run.json").read_text())
        del plan["identity"]["split"]
        (cut / "run.json").write_text(json.dumps(plan))
        self.unchanged(cut, "resume: the split is not what")

    def test_another_option(self, cut: Path) -> None:
        plan = json.loads((cut / "run.json").read_text())
        plan["plan"]["options"]["epoch"] = 3
        (cut / "run.json").write_text(json.dumps(plan))
        self.unchanged(cut, "got epoch, expected some of")

    def test_another_label(self, cut: Path, table: Path) -> None:
        data = pq.read_table(table)
        values = data.column("y").to_pylist()
        values[7] += 1e-12
        pq.write_table(data.set_column(data.schema.get_field_index("y"), data.schema.field("y"), [values]), table)
        self.unchanged(cut, "resume: the data is not what the run in .* began with; expected the same files")

    def test_another_row(self, cut: Path, table: Path) -> None:
        pq.write_table(pq.read_table(table).slice(0, 49), table)
        self.unchanged(cut, "resume: the data is not what")

    def test_other_ids(self, cut: Path, table: Path) -> None:
        made = crystals(50)
        ids = np.char.add("x", made.ids)
        renamed = cgfast.Crystals(made.positions, made.cell, made.pbc, made.atomic_numbers, made.graph_ptr, ids)
        write_table(table, renamed, y=some_values(made))
        self.unchanged(cut, "resume: the split is not what")

    def test_other_element_features(self, table: Path, tmp_path: Path) -> None:
        path = tmp_path / "atoms.json"
        path.write_text(json.dumps({str(z): [z / 10, 1.0] for z in range(1, 93)}))
        with pytest.raises(KeyboardInterrupt):
            train(table, "y", out=tmp_path / "cut", atom_init=path, on_epoch=stop_at(3), **TINY)
        path.write_text(json.dumps({str(z): [z / 20, 1.0] for z in range(1, 93)}))
        self.unchanged(tmp_path / "cut", "resume: the atom_init is not what the run in .* began with")
        path.unlink()
        self.unchanged(tmp_path / "cut", "atom_init: there is no file")

    def test_no_data(self, cut: Path, table: Path) -> None:
        table.unlink()
        self.unchanged(cut, r"data\.parquet")

    def test_other_crystals_in_memory(self, cut: Path) -> None:
        self.unchanged(cut, "resume: the data is not what", data=labelled(49))

    @pytest.mark.parametrize("length", [0, 1, 1000, -1, -5000])
    def test_a_checkpoint_cut_short(self, cut: Path, length: int) -> None:
        path = cut / "checkpoints" / "last.ckpt"
        path.write_bytes(path.read_bytes()[:length])
        self.unchanged(cut, r"resume: .*last\.ckpt cannot be read")

    @pytest.mark.parametrize("contents", [b"nothing of ours", bytes(1000)])
    def test_a_checkpoint_that_is_none(self, cut: Path, contents: bytes) -> None:
        (cut / "checkpoints" / "last.ckpt").write_bytes(contents)
        self.unchanged(cut, r"resume: .*last\.ckpt cannot be read")

    def test_a_checkpoint_of_another_thing(self, cut: Path) -> None:
        torch.save({"state_dict": {}}, cut / "checkpoints" / "last.ckpt")
        self.unchanged(cut, r"resume: .*last\.ckpt")

    def test_a_checkpoint_that_would_run_code(self, cut: Path, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple:
                return (os.mkdir, (str(tmp_path / "ran"),))

        torch.save({"state_dict": Evil()}, cut / "checkpoints" / "last.ckpt")
        self.unchanged(cut, r"resume: .*last\.ckpt cannot be read")
        assert not (tmp_path / "ran").exists()

    def test_a_best_checkpoint_that_is_gone(self, cut: Path) -> None:
        """The best epoch may lie behind: without its weights the run cannot be finished."""
        shutil.rmtree(cut / "checkpoints")
        assert isinstance(resume(cut), TrainingResult)  # nothing is left of it: it begins anew
        (cut / "checkpoints" / "best.ckpt").unlink()
        (cut / "model.json").unlink()
        with pytest.raises(ValueError, match=r"best\.ckpt"):
            resume(cut)

    def test_a_second_process(self, cut: Path) -> None:
        with (cut / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.unchanged(cut, "another process is training in")
        resume(cut)

    def test_a_second_run_inside_the_first(self, table: Path, tmp_path: Path) -> None:
        said = []

        def again(_: Any) -> None:
            for call in (lambda: resume(tmp_path / "m"), lambda: train(table, "y", out=tmp_path / "m", **TINY)):
                with pytest.raises(ValueError, match=r"another process is training|is there already") as error:
                    call()
                said.append(str(error.value))

        train(table, "y", out=tmp_path / "m", on_epoch=again, **TINY | {"epochs": 1})
        assert len(said) == 2

    def test_a_folder_in_use_is_no_place_for_a_new_run(self, cut: Path, table: Path) -> None:
        with pytest.raises(ValueError, match=r"out: .*cut is there already, expected another folder, or resume to go on with"):
            train(table, "y", out=cut, **TINY)
