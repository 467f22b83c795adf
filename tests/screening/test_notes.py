"""What a reader met that is no failure reaches the user."""

from __future__ import annotations

import json

import pytest

import cgfast

pytest.importorskip("pyarrow")


def structures(values):
    lattice = {"matrix": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]], "pbc": [True] * 3}
    sites = [{"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0]}]
    structure = {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": lattice, "sites": sites}
    return [{"material_id": f"m-{k}", "structure": structure, "gap": value} for k, value in enumerate(values)]


def test_a_kept_value_that_does_not_fit_is_noted(tmp_path, make_model):
    path = tmp_path / "in.json"
    path.write_text(json.dumps(structures([*[1.5] * 1100, "wide"])))
    result = cgfast.screen(path, make_model(), keep=["gap"], out=tmp_path / "out.parquet")
    assert result.n_predictions == 1101
    assert len(result.notes) == 1
    assert "gap" in result.notes[0]
