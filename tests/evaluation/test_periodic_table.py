"""Places in the periodic table against the groups that chemists name."""

from __future__ import annotations

import pytest

from cgfast.elements import SYMBOLS
from cgfast.evaluation.periodic_table import N_GROUPS, N_ROWS, periodic_figure, place

GROUPS = {
    1: "H Li Na K Rb Cs Fr",
    2: "Be Mg Ca Sr Ba Ra",
    4: "Ti Zr Hf Rf",
    8: "Fe Ru Os Hs",
    11: "Cu Ag Au Rg",
    13: "B Al Ga In Tl Nh",
    16: "O S Se Te Po Lv",
    17: "F Cl Br I At Ts",
    18: "He Ne Ar Kr Xe Rn Og",
}
PERIODS = {1: "H He", 2: "Li C Ne", 3: "Na Si Ar", 4: "K Sc Zn Kr", 5: "Rb Y Xe", 6: "Cs Ba Hf Rn", 7: "Fr Rf Og"}


def test_groups_and_periods():
    for group, names in GROUPS.items():
        assert {place(SYMBOLS.index(name))[1] for name in names.split()} == {group - 1}
    for period, names in PERIODS.items():
        assert {place(SYMBOLS.index(name))[0] for name in names.split()} == {period - 1}


def test_every_element_has_a_place_of_its_own():
    places = [place(number) for number in range(1, 119)]
    assert len(set(places)) == 118
    assert all(0 <= row < N_ROWS and 0 <= column < N_GROUPS for row, column in places)
    assert [place(SYMBOLS.index(name))[0] for name in ("La", "Lu", "Ac", "Lr")] == [7, 7, 8, 8]


def test_figure():
    pytest.importorskip("plotly", reason="figures are made by plotly")
    figure = periodic_figure({"A": {26: (1.5, 3)}, "B": {8: (-0.5, 1), 57: (2.0, 2)}}, "contribution (eV)").to_plotly_json()
    cells = [{(r, c): v for r, row in enumerate(t["z"]) for c, v in enumerate(row) if v is not None} for t in figure["data"]]
    assert cells == [{(3, 7): 1.5}, {(1, 15): -0.5, (7, 2): 2.0}]
    assert {t["coloraxis"] for t in figure["data"]} == {"coloraxis"}
    assert figure["data"][0]["customdata"][3][7] == "Fe: contribution (eV) 1.5000, mean of 3"
