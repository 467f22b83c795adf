"""Merged shards are the output of the whole."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import cgfast
from cgfast.cli import app
from cgfast.elements import symbol
from cgfast.models import OutputColumn
from cgfast.screening import screen

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from tests.screening.interrupted import interrupt

pytestmark = pytest.mark.usefixtures("graph_calls")


def both(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_name(f"{out.stem}-failures.csv").read_bytes()


def make_shards(make_rows, make_model, rows, out: Path, count: int, **options) -> list[Path]:
    return [
        screen(make_rows(rows, n_rows=len(rows)), make_model(), out=out, shard=f"{k}/{count}", **options).out
        for k in range(1, count + 1)
    ]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_byte_by_byte(make_rows, make_model, mixed, tmp_path: Path, count: int, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    kept = pa.table({"n": list(range(200)), "tag": [None if k % 3 else f"t{k}" for k in range(200)]})
    expected = screen(make_rows(mixed, n_rows=200, columns=kept), make_model(), out=whole)
    for k in range(1, count + 1):
        screen(make_rows(mixed, n_rows=200, columns=kept), make_model(), out=tmp_path / "p.parquet", shard=f"{k}/{count}")
    result = cgfast.merge(tmp_path / f"p.{suffix}")
    assert both(tmp_path / f"p.{suffix}") == both(whole)
    assert (result.n_rows, result.n_predictions, result.n_failures) == (200, expected.n_predictions, expected.n_failures)
    assert result.failures == expected.failures
    assert result.units == expected.units
    assert (result.flags, result.flagged) == (expected.flags, expected.flagged)
    assert "few_neighbors" in result.flags


def test_files_may_be_named_in_any_order(make_rows, make_model, mixed, tmp_path: Path) -> None:
    paths = make_shards(make_rows, make_model, mixed, tmp_path / "p.parquet", 4)
    cgfast.merge(tmp_path / "a.parquet", reversed(paths))
    cgfast.merge(tmp_path / "b.parquet", str(tmp_path / "p-*of4.parquet"))
    cgfast.merge(tmp_path / "c.parquet", str(tmp_path / "p-*"))  # the failures of the shards too
    assert both(tmp_path / "a.parquet") == both(tmp_path / "b.parquet") == both(tmp_path / "c.parquet")


def test_units_of_deviations_and_of_the_hull(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="makes hulls")
    entries = tmp_path / "entries.json"
    entries.write_text(json.dumps([{"composition": {symbol(z): 1}, "energy": -float(z)} for z in range(1, 90)]))
    model = make_model(column="formation_energy_per_atom_eV")
    model.columns = (OutputColumn("formation_energy_per_atom_eV", "eV"), OutputColumn("formation_energy_per_atom_eV_std", "eV"))
    values = model.predict_columns
    model.predict_columns = lambda graph: values(graph).repeat(2, axis=1)
    rows = make_rows(random_rows, n_rows=200)
    expected = screen(rows, model, out=tmp_path / "whole.parquet", hull=entries)
    for k in (1, 2):
        screen(rows, model, out=tmp_path / "p.parquet", hull=entries, shard=f"{k}/2")
    result = cgfast.merge(tmp_path / "p.parquet")
    assert result.units == expected.units
    assert list(result.units.values()) == ["eV", "eV", "eV/atom"]
    assert result.flags == expected.flags


def test_finished_rows_under_the_same_name(make_rows, make_model, mixed, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_ROWS", 8)
    make_shards(make_rows, make_model, mixed, tmp_path / "p.parquet", 2)
    interrupt(make_rows, make_model, mixed, tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"holds 16 finished rows .*: finish that run .*, choose another name, or remove"):
        cgfast.merge(tmp_path / "p.parquet")
    assert (tmp_path / ".p.parquet.parts").is_dir()


def test_a_shard_without_rows_says_so(make_rows, make_model, mixed, tmp_path: Path) -> None:
    rows = make_rows(mixed[:6], n_rows=6)
    found = [screen(rows, make_model(), out=tmp_path / "p.parquet", shard=f"{k}/3") for k in (1, 2, 3)]
    note = "shard 1/3 is empty: shards begin at multiples of 4 rows, and there are 6 rows"
    assert [(result.n_rows, result.notes) for result in found] == [(0, (note,)), (4, ()), (2, ())]


def test_what_is_not_there_is_named(make_rows, make_model, mixed, tmp_path: Path) -> None:
    paths = make_shards(make_rows, make_model, mixed, tmp_path / "p.parquet", 5)
    paths[1].unlink()
    paths[3].unlink()
    (tmp_path / ".p-4of5.parquet.parts").mkdir()
    with pytest.raises(ValueError, match=r"shards: 2/5, 4/5 \(not finished: .*p-4of5.parquet\) are missing; there are 3 of 5"):
        cgfast.merge(tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()


def test_other_refusals(make_rows, make_model, mixed, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    a, b = make_shards(make_rows, make_model, mixed, out, 2)
    copy = shutil.copy(a, tmp_path / "copy.parquet")
    with pytest.raises(ValueError, match=r"shards: 1/2 is there twice: .*copy.parquet"):
        cgfast.merge(out, [a, b, copy])
    with pytest.raises(ValueError, match="shards: no such file: "):
        cgfast.merge(out, [a, tmp_path / "no.parquet"])
    with pytest.raises(ValueError, match="shards: nothing matches the pattern"):
        cgfast.merge(out, "nothing-*.parquet")
    with pytest.raises(ValueError, match="shards: got none"):
        cgfast.merge(out, [])
    with pytest.raises(ValueError, match=r"there is no q-IofN\.parquet beside"):
        cgfast.merge(tmp_path / "q.parquet")
    with pytest.raises(ValueError, match="is one of the shards, and would be overwritten"):
        cgfast.merge(a, [a, b])
    screen(make_rows(mixed), make_model(), out=tmp_path / "whole.parquet")
    with pytest.raises(ValueError, match=r"whole\.parquet is no output of a shard"):
        cgfast.merge(out, [tmp_path / "whole.parquet", b])
    (tmp_path / "p-2of2-failures.csv").unlink()
    with pytest.raises(ValueError, match=r"p-2of2\.parquet lacks its failures"):
        cgfast.merge(out)
    assert not out.exists()


def test_failures_that_do_not_add_up(make_rows, make_model, mixed, tmp_path: Path) -> None:
    make_shards(make_rows, make_model, mixed, tmp_path / "p.parquet", 2)
    place = tmp_path / "p-1of2-failures.csv"
    lines = place.read_text().splitlines(keepends=True)
    place.write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"p-1of2-failures.csv holds \d+ failures, expected \d+"):
        cgfast.merge(tmp_path / "p.parquet")
    place.write_text("nonsense\n1\n")
    with pytest.raises(ValueError, match="is no table of failures"):
        cgfast.merge(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_atoms": 99}, "different jobs: batch_atoms was 8192, is 99"),
        ({"ties": "shell"}, "different jobs: the graph of fake differs"),
        ({"shard": "2/3"}, "is 1/2 and .* is 2/3: expected shards of one job"),
    ],
)
def test_shards_of_two_jobs(make_rows, make_model, mixed, tmp_path: Path, change, message) -> None:
    out = tmp_path / "p.parquet"
    rows = make_rows(mixed, n_rows=200)
    a = screen(rows, make_model(), out=out, shard="1/2").out
    b = screen(rows, make_model(), out=out, **{"shard": "2/2", **change}).out
    with pytest.raises(ValueError, match=message):
        cgfast.merge(out, [a, b])


def test_shards_of_files_count_their_failures_through(make_model, tmp_path: Path) -> None:
    pytest.importorskip("gemmi", reason="reads CIF")
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(20):
        (folder / f"{k:02}.cif").write_text(f"data_{k}\n")  # no atoms
    model = make_model()
    screen(folder, model, out=tmp_path / "whole.csv")
    for k in (1, 2, 3):
        result = screen(folder, model, out=tmp_path / "p.parquet", shard=f"{k}/3")
        found = json.loads(pq.read_schema(result.out).metadata[b"cgfast"])
        assert found["options"]["shard"]["by"] == "files"
    cgfast.merge(tmp_path / "p.csv")
    assert both(tmp_path / "p.csv") == both(tmp_path / "whole.csv")


def test_a_resumed_shard(make_rows, make_model, mixed, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_ROWS", 8)

    def on_batch(start: int) -> None:
        if start == 160:
            raise OSError

    out = tmp_path / "p.parquet"
    screen(make_rows(mixed, n_rows=200), make_model(), out=out, shard="1/2")
    with pytest.raises(OSError):  # noqa: PT011 - the bare one from above
        screen(make_rows(mixed, n_rows=200, on_batch=on_batch), make_model(), out=out, shard="2/2")
    result = screen(make_rows(mixed, n_rows=200), make_model(), out=out, shard="2/2", resume=True)
    assert result.n_resumed == 48
    cgfast.merge(out)
    screen(make_rows(mixed, n_rows=200), make_model(), out=tmp_path / "whole.parquet")
    assert both(out) == both(tmp_path / "whole.parquet")


def test_the_command(make_rows, make_model, mixed, tmp_path: Path) -> None:
    make_shards(make_rows, make_model, mixed, tmp_path / "p.parquet", 2)
    result = CliRunner().invoke(app, ["merge", str(tmp_path / "p.csv")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("200 rows in: ")
    assert result.stdout.splitlines()[-3].startswith("flags: few_neighbors ")
    result = CliRunner().invoke(app, ["merge", str(tmp_path / "q.csv"), str(tmp_path / "p-1of2.parquet")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: shards: 2/2 is missing")
