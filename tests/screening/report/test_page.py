"""`screen(..., report=...)`: what the page says, against the tables that it is about."""

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.screening import screen
from cgfast.screening.report import write_report

pq = pytest.importorskip("pyarrow.parquet", reason="a report is made from tables")
offline = pytest.importorskip("plotly.offline", reason="figures are made by plotly")

EVIL = "</script><script>alert('1')</script>\"<b>&amp;\u2028é漢\u202egnol"


class Page(HTMLParser):
    """Scripts, tables, data and text of a page, as a browser would take them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[str] = []
        self.data: dict[str, str] = {}
        self.tables: list[list[list[str]]] = []
        self.cards: list[str] = []
        self.references: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.references += [value for name, value in attributes if name in ("src", "href", "action", "srcset")]
        if tag not in ("meta", "input", "br", "wbr"):
            self._open.append((tag, found))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append("")
        elif tag == "b":
            self.cards.append("")

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if "script" in tags:
            self.scripts[-1] += data
            name = self._open[-1][1].get("id")
            if name:
                self.data[name] = data
        elif "td" in tags or "th" in tags:
            self.tables[-1][-1][-1] += data
        elif tags[-1:] == ["b"]:
            self.cards[-1] += data


def read(path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page._open == []
    return page


def table(page: Page, first: str) -> list[list[str]]:
    return next(rows for rows in page.tables if rows[0][0] == first)


def some_crystals(n: int = 300, ids=None) -> Crystals:
    random = np.random.default_rng(5)
    sizes = random.integers(1, 7, n)
    numbers = random.choice([3, 8, 13, 22, 26, 38, 92], sizes.sum())
    fractions = random.random((sizes.sum(), 3)) * 3 - 1
    cells = np.eye(3) * 6.0 + random.normal(0, 0.7, (n, 3, 3))
    return Crystals.from_arrays(
        np.einsum("ni,nij->nj", fractions, np.repeat(cells, sizes, axis=0)),
        cells,
        numbers,
        graph_ptr=np.concatenate([[0], np.cumsum(sizes)]),
        ids=ids or [f"c{k}" for k in range(n)],
    )


@pytest.fixture
def job(graph_calls, make_model, tmp_path):
    """A job whose crystals with aluminium (no graph) and uranium (not predicted) fail."""
    assert graph_calls == []

    def run(crystals=None, name="out.parquet", **options):
        model = make_model("fake", max_atomic_number=60)
        crystals = some_crystals() if crystals is None else crystals
        result = screen(crystals, options.pop("models", model), out=tmp_path / name, report=tmp_path / "r.html", **options)
        return result, read(tmp_path / "r.html")

    return run


def test_it_loads_nothing_and_holds_plotly_once(job, tmp_path):
    _, page = job()
    assert page.references == []
    assert page.scripts[0] == offline.get_plotlyjs()
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count(page.scripts[0]) == 1
    assert "default-src 'none';" in text
    assert "form-action 'none'" in text
    rest = page.scripts[1:]
    assert not [script for script in rest if "http" in script]
    assert len(text) < len(page.scripts[0]) + 500_000
    shown = [script for script in rest if "Plotly.newPlot" in script]
    assert shown
    assert all('"modeBarButtonsToRemove": ["sendChartToCloud", "sendDataToCloud"' in script for script in shown)


def test_it_says_what_the_tables_say(job):
    result, page = job(top=7, by="mean_z", descending=True)
    rows = pq.read_table(result.out)
    values = rows["mean_z"].to_numpy()
    assert result.n_failures > 20
    assert page.cards[:3] == [f"{result.n_rows:,}", f"{result.n_predictions:,}", f"{result.n_failures:,}"]
    line = table(page, "column")[1]
    assert line[:3] == ["mean_z", "eV", f"{len(values):,}"]
    expected = (values.min(), np.median(values), values.mean(), values.max(), values.std())
    assert line[3:8] == [f"{value:.4f}" for value in expected]
    best = np.argsort(-values, kind="stable")[:7]
    shown = table(page, "")[1:]
    assert [line[1] for line in shown] == rows["id"].take(best).to_pylist()
    assert [line[4] for line in shown] == [f"{value:.4f}" for value in values[best]]
    flags = {line[2]: line[0] for line in table(page, "rows")[1:]}
    cells = [flag for text in rows["flags"].to_pylist() for flag in text.split(";")]
    assert flags == {flag: f"{cells.count(flag):,}" for flag in set(cells)}
    with result.failures_out.open(newline="") as file:
        failures = list(csv.DictReader(file))
    counted = next(rows for rows in page.tables if rows[0][:2] == ["rows", "share of the input"])[1:]
    assert sum(int(line[0].replace(",", "")) for line in counted) == len(failures)
    stages = {line[2] for line in counted}
    assert stages == {failure["stage"] for failure in failures} == {"graph", "predict"}
    models = table(page, "model")[1]
    assert (models[0], models[3]) == ("fake", f"{'fake':0<64}")
    assert {"output", "versions", "machine"} <= {line[0] for line in page.tables[-1]}


def test_the_histogram_counts_every_row(job):
    result, page = job()
    script = next(script for script in page.scripts if '"distribution-0"' in script)
    trace = json.JSONDecoder().raw_decode(script, script.index("[", script.index("newPlot")))[0][0]
    assert sum(decoded(trace["y"])) == result.n_predictions


def decoded(values) -> list[float]:
    if isinstance(values, list):
        return values
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()


def test_structures_are_those_of_the_rows(job):
    """Positions, cells and elements are compared modulo lattice vectors; lengths and angles with ASE's."""
    cell_module = pytest.importorskip("ase.cell", reason="the oracle of lengths and angles")
    crystals = some_crystals(ids=["same"] * 300)  # so that only rows can tell
    result, page = job(crystals)
    data = json.loads(page.data["candidates"])
    values = pq.read_table(result.out)["mean_z"].to_numpy()
    good = [row for row in range(300) if not {13, 92} & set(crystals[row].atomic_numbers.tolist())]
    assert len(data["candidates"]) == 20
    for k, candidate in zip(np.argsort(values, kind="stable"), data["candidates"], strict=False):
        row = good[k]
        assert candidate["numbers"] == crystals[row].atomic_numbers.tolist()
        crystal = crystals[row]
        np.testing.assert_allclose(candidate["cell"], crystal.cell[0], atol=1e-4)
        places = np.array(candidate["fractions"])
        assert ((places >= 0) & (places < 1)).all()
        away = np.linalg.solve(crystal.cell[0].T, crystal.positions.T).T - places
        np.testing.assert_allclose(away, np.round(away), atol=2e-5)
        facts = dict(candidate["facts"])
        a, b, c, alpha, beta, gamma = cell_module.Cell(crystal.cell[0]).cellpar()
        assert [facts[name] for name in "abc"] == [f"{length:.3f} Å" for length in (a, b, c)]
        assert [facts[name] for name in "αβγ"] == [f"{angle:.2f}°" for angle in (alpha, beta, gamma)]
        assert candidate["formula"] == formula_of(candidate["numbers"])
    assert set(data["elements"]) == {str(z) for c in data["candidates"] for z in c["numbers"]}
    assert all(re.fullmatch("#[0-9a-f]{6}", e["colour"]) and 0.2 < e["radius"] < 3 for e in data["elements"].values())


def formula_of(numbers: list[int]) -> str:
    element = pytest.importorskip("pymatgen.core", reason="the oracle of electronegativities").Element
    divisor = np.gcd.reduce([numbers.count(z) for z in numbers])
    counts = {element.from_Z(z): numbers.count(z) // divisor for z in set(numbers)}
    ordered = sorted(counts.items(), key=lambda item: item[0].X)
    return "".join(f"{e.symbol}{'' if n == 1 else n}" for e, n in ordered)


def test_open_axes_and_large_cells(job):
    molecule = Crystals.from_arrays([[0.0, 0, 0], [0, 0, 1.2]], None, [8, 8], ids=["o2"])
    chain = Crystals.from_arrays([[0.0, 0, 0]], np.diag([2.0, 0, 0]), [26], pbc=[True, False, False], ids=["chain"])
    large = Crystals.from_arrays(np.random.default_rng(0).random((1001, 3)) * 50, np.eye(3) * 50, [38] * 1001, ids=["large"])
    _, page = job(Crystals.concatenate([molecule, chain, large]))
    found = {c["id"]: c for c in json.loads(page.data["candidates"])["candidates"]}
    assert found["o2"]["pbc"] == [False] * 3
    np.testing.assert_allclose(np.array(found["o2"]["fractions"]) @ found["o2"]["cell"], [[0, 0, 0], [0, 0, 1.2]], atol=1e-4)
    assert [name for name, _ in found["o2"]["facts"]] == ["atoms"]
    assert [name for name, _ in found["chain"]["facts"]] == ["atoms", "a"]
    assert "1,000 atoms" in found["large"]["why"]


def test_hostile_names(job, tmp_path):
    """Ids are text wherever they are shown, never markup; also in failures and in the file's own name."""
    crystals = some_crystals(ids=[f"{EVIL}{k}" for k in range(300)])
    result, page = job(crystals, name="<img src=x onerror=alert(1)>.parquet")
    assert result.n_failures
    assert not any(script.lstrip().startswith("alert") for script in page.scripts)
    best = [row[1] for row in table(page, "")[1:]]
    data = [candidate["id"] for candidate in json.loads(page.data["candidates"])["candidates"]]
    assert best == data
    assert all(name.startswith(EVIL) for name in best)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in text.replace(page.scripts[0], "")
    assert "\u2028" not in page.data["candidates"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_csv_and_parquet_make_the_same_page(job, name):
    _, page = job(name=name)
    first = table(page, ""), table(page, "column"), page.data["candidates"]
    _, page = job(name="another.parquet")
    assert first == (table(page, ""), table(page, "column"), page.data["candidates"])


def test_after_the_fact(job, tmp_path):
    crystals = some_crystals()
    result, page = job(crystals)
    assert write_report(tmp_path / "later.html", result.out) == tmp_path / "later.html"
    later = read(tmp_path / "later.html")
    assert table(later, "column") == table(page, "column")
    assert all("why" in candidate for candidate in json.loads(later.data["candidates"])["candidates"])
    with pytest.raises(ValueError, match="expected Parquet"):
        write_report(tmp_path / "later.html", tmp_path / "x.csv")


def test_shards_and_limits_show_their_own_rows(job, tmp_path):
    crystals = some_crystals(3000, ids=["same"] * 3000)
    _, page = job(crystals, shard="2/3", name="s.parquet", limit=2500)
    rows = pq.read_table(tmp_path / "s-2of3.parquet")
    values = np.sort(rows["mean_z"].to_numpy())[:20]
    data = json.loads(page.data["candidates"])["candidates"]
    assert [round(float(np.mean(candidate["numbers"])), 9) for candidate in data] == np.round(values, 9).tolist()


def test_no_rows_and_only_failures(job):
    result, page = job(Crystals.concatenate([]))
    assert page.cards[:3] == ["0", "0", "0"]
    aluminium = Crystals.from_arrays([[0.0, 0, 0]], np.eye(3) * 4, [13], ids=["al"])
    result, page = job(aluminium)
    assert (result.n_predictions, page.cards[:3]) == (0, ["1", "0", "1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report": "r.txt"}, "report: .*r.txt ends in '.txt', expected .html or .htm"),
        ({"report": "nowhere/r.html"}, "report: .* no such folder"),
        ({"out": None}, "report: .* give out"),
        ({"by": "nonsense"}, "no column 'nonsense'"),
    ],
)
@pytest.mark.usefixtures("graph_calls")
def test_refused_before_any_work(make_model, tmp_path, options, message):
    model = make_model()
    places = {"out": tmp_path / "o.parquet", "report": tmp_path / "r.html"} | options
    places = {k: tmp_path / v if k == "report" else v for k, v in places.items()}
    with pytest.raises(ValueError, match=message):
        screen(some_crystals(), model, **places)
    assert model.batches == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("graph_calls")
def test_the_output_stays_when_the_report_cannot_be_written(make_model, tmp_path):
    def obstruct(_):
        (tmp_path / "sub" / "r.html.part").mkdir(exist_ok=True)

    (tmp_path / "sub").mkdir()
    with pytest.raises(ValueError, match=r"report: .*complete"):
        screen(
            some_crystals(), make_model(), out=tmp_path / "o.parquet", report=tmp_path / "sub" / "r.html", on_progress=obstruct
        )
    assert pq.read_table(tmp_path / "o.parquet").num_rows


def test_the_command_refuses_before_any_work(tmp_path):
    runner = pytest.importorskip("typer.testing", reason="the command line is made by typer").CliRunner()
    from cgfast.cli import app

    source = tmp_path / "x.cif"
    source.write_text("data_x\n")
    answer = runner.invoke(app, ["screen", str(source), "-o", str(tmp_path / "o.parquet"), "--report", str(tmp_path / "r.txt")])
    assert answer.exit_code == 2
    assert "r.txt ends in '.txt', expected .html or .htm" in answer.output


def test_with_a_condition_structures_are_found_by_id(job):
    crystals = some_crystals()
    result, page = job(crystals, where="mean_z > 20", name="w.parquet")
    rows = pq.read_table(result.out)
    assert 0 < rows.num_rows < result.n_rows - result.n_failures
    left_out = result.n_rows - result.n_failures - rows.num_rows
    assert page.cards[:4] == [f"{n:,}" for n in (result.n_rows, rows.num_rows, result.n_failures, left_out)]
    data = json.loads(page.data["candidates"])["candidates"]
    assert len(data) == 20
    for candidate in data:
        assert candidate["numbers"] == crystals[int(candidate["id"][1:])].atomic_numbers.tolist()
