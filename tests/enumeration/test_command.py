"""`cgfast enumerate` as users call it, and its table screened."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import cgfast
from cgfast.cli import app
from cgfast.enumeration import enumerate_crystals


def run(*arguments):
    result = CliRunner().invoke(app, ["enumerate", *map(str, arguments)])
    return result.exit_code, result.output


def test_sites_may_be_arguments_or_options(tmp_path):
    expected = enumerate_crystals("perovskite", {"A": "Ba,Sr", "B": "Ti", "X": "O"}, volumes=(0.9, 1.1))
    ways = [
        ("A=Ba,Sr", "B=Ti", "X=O"),
        ("--sites", "A=Ba,Sr", "B=Ti", "X=O"),
        ("-s", "A=Ba,Sr", "-s", "B=Ti", "-s", "X=O"),
        ("--sites", "A=Ba,Sr B=Ti X=O"),
    ]
    ids = [name for batch in expected for name in batch.ids.tolist()]
    for index, way in enumerate(ways):
        code, output = run("perovskite", *way, "--volumes", "0.9,1.1", "-o", tmp_path / f"{index}.parquet")
        assert code == 0, output
        assert output.splitlines()[-1] == "2 combinations: 2 candidates, 4 rows"
        assert pq.read_table(tmp_path / f"{index}.parquet")["id"].to_pylist() == ids


def test_without_a_file_it_tells():
    assert run("perovskite") == (0, "A: 1 site\nB: 1 site\nX: 3 sites\n")
    assert run("rocksalt", "A=alkali", "X=halogens") == (
        0,
        "20 combinations: 20 candidates, 20 rows; --out FILE.parquet writes them\n",
    )


def test_what_is_left_out_is_told_with_and_without_a_file(tmp_path):
    arguments = ("rocksalt", "A=Na,K", "X=K,Cl", "--charge-neutral")
    code, output = run(*arguments)
    line = "4 combinations: 2 candidates, 2 rows (left out: 1 with an element on several letters, 1 not neutral)"
    assert (code, output) == (0, f"{line}; --out FILE.parquet writes them\n")
    assert run(*arguments, "-o", tmp_path / "c.parquet")[1].splitlines()[-1] == line
    assert run("rocksalt", "A=Na", "X=Cl")[1] == "1 combination: 1 candidate, 1 row; --out FILE.parquet writes them\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("perovskit", "A=Ba"), "prototype: 'perovskit' is no file"),
        (("perovskite", "A"), "--sites: got 'A': expected LETTER=SET"),
        (("perovskite", "A=Ba", "A=Sr"), "--sites: got 'A=Sr': is given twice"),
        (("perovskite", "A=Ba", "B=Ti", "X=O", "--volumes", "1,x"), "--volumes: got '1,x'"),
        (("perovskite", "A=Ba", "B=Ti", "X=O", "-o", "c.csv"), "expected .parquet"),
    ],
)
def test_bad_input_is_a_sentence(arguments, message):
    code, output = run(*arguments)
    assert code == 2
    assert message in output
    assert output.startswith("error: ")


def test_equal_enumerations_are_known_as_equal():
    arguments = ("rocksalt", {"A": "alkali", "X": "halogens"})
    assert enumerate_crystals(*arguments).settings == enumerate_crystals(*arguments).settings
    assert enumerate_crystals(*arguments).settings != enumerate_crystals(*arguments, volumes=0.9).settings
    assert cgfast.enumerate_crystals is enumerate_crystals
