"""The reports in a real browser: no script fails, figures and structures are drawn, nothing is loaded."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest

from cgfast.crystals import Crystals
from tests.browser.chromium import PROGRAMS, Chromium, find_chromium

pytestmark = pytest.mark.slow

pytest.importorskip("plotly", reason="figures are made by plotly")
torch = pytest.importorskip("torch")
image = pytest.importorskip("PIL.Image", reason="pictures are looked at with Pillow")

EVIL = "</script><script>document.title='broken'</script>\"'<img src=x>\u2028\u202e漢 "
PEROVSKITE = ((38, (0, 0, 0)), (22, (0.5, 0.5, 0.5)), (8, (0.5, 0.5, 0)), (8, (0.5, 0, 0.5)), (8, (0, 0.5, 0.5)))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(f"this machine has no browser: none of {', '.join(PROGRAMS)}")
    with Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def crystals() -> Crystals:
    """Cubic perovskites with other elements on the sites, and one crystal that no model knows."""
    random = np.random.default_rng(1)
    n = 60
    numbers = np.tile([z for z, _ in PEROVSKITE], (n, 1))
    numbers[:, 0] = random.choice([20, 38, 56, 57], n)
    numbers[:, 1] = random.choice([22, 26, 40], n)
    numbers[-1, 0] = 118
    edges = random.uniform(3.6, 4.4, n)
    fractions = np.array([place for _, place in PEROVSKITE], float)
    return Crystals.from_arrays(
        (edges[:, None, None] * fractions).reshape(-1, 3),
        edges[:, None, None] * np.eye(3),
        numbers.ravel(),
        graph_ptr=np.arange(n + 1) * 5,
        ids=[f"{EVIL}{k}" for k in range(n)],
    )


@pytest.fixture
def model():
    from cgfast.basis import GaussianBasis
    from cgfast.models import PropertyModel, Target
    from cgfast.neighbors import GraphSpec
    from cgfast.nn import CGCNN

    basis = GaussianBasis(0.0, 6.0, 0.5)
    targets = (
        Target("energy per atom", "eV/atom", "energy_per_atom_eV", None, "energy_per_atom_eV"),
        Target("probability of metal", "1", "metal_probability", ("insulator", "metal"), "gap_eV<0.001"),
    )
    wide = {"nbr_fea_len": basis.n_centres, "atom_fea_len": 8, "n_conv": 1, "h_fea_len": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = tuple(CGCNN(None, basis=basis, n_out=3, **wide).eval() for _ in range(2))
    return PropertyModel(
        name="tiny",
        targets=targets,
        networks=networks,
        spec=GraphSpec(cutoff=6.0, max_neighbors=8),
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        sha256="7" * 64,
        source="",
    )


@pytest.fixture
def screened(crystals, model, tmp_path):
    from cgfast.screening import screen

    screen(crystals, model, out=tmp_path / "out.parquet", report=tmp_path / "report.html", batch_atoms=64)
    return tmp_path / "report.html"


def figures_are_drawn(browser: Chromium) -> list[str]:
    """Wait for all figures of the page and give their names."""
    browser.wait("document.querySelectorAll('.js-plotly-plot').length > 0")
    browser.wait("[...document.querySelectorAll('.js-plotly-plot')].every((f) => f.querySelector('.main-svg'))")
    names: list[str] = browser.run("[...document.querySelectorAll('.js-plotly-plot')].map((f) => f.id)")
    return names


def nothing_is_wrong(browser: Chromium, path) -> None:
    assert browser.problems == []
    loaded = [url for url in browser.requests if not url.startswith(("data:", "blob:"))]
    assert loaded == [path.resolve().as_uri()]
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    uploads = "[...document.querySelectorAll('.modebar-btn')].filter((b) => /cloud|share/i.test(b.dataset.title || '')).length"
    assert browser.run(uploads) == 0


def overlaps(browser: Chromium, selector: str) -> list[list[str]]:
    """Pairs of elements whose boxes share more than a pixel."""
    script = (
        "((boxes) => boxes.flatMap(([a, p], i) => boxes.slice(0, i).filter(([b, q]) => "
        "Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 && "
        "Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1 && !a.contains(b) && !b.contains(a)"
        ").map(([b]) => [a.textContent.slice(0, 40), b.textContent.slice(0, 40)])))"
        f"([...document.querySelectorAll('{selector}')].map((e) => [e, e.getBoundingClientRect()])"
        ".filter(([e, r]) => r.width && r.height))"
    )
    found: list[list[str]] = browser.run(script)
    return found


def pixels(browser: Chromium, selector: str) -> np.ndarray:
    return np.asarray(image.open(io.BytesIO(browser.picture(selector))).convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: str) -> int:
    """Pixels that have about this colour."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=2) <= 12).sum())


def structure_is_drawn(browser: Chromium) -> np.ndarray:
    """Wait until every element of the structure chosen is seen in its colour, and give the picture."""
    colours = browser.run(
        "document.getElementById('structure').data.filter((t) => t.mode === 'markers').map((t) => t.marker.color)"
    )
    assert colours
    for _ in range(20):
        picture = pixels(browser, "#structure")
        if all(near(picture, colour) > 30 for colour in colours):
            return picture
    raise AssertionError([near(picture, colour) for colour in colours])


def test_screening_report(browser, screened):
    browser.open(screened)
    names = figures_are_drawn(browser)
    assert {"distribution-0", "distribution-1", "distribution-2", "distribution-3", "structure", "throughput"} <= set(names)
    structure_is_drawn(browser)
    nothing_is_wrong(browser, screened)
    assert browser.run("document.title") == "Screening: out.parquet"
    assert browser.run("document.querySelectorAll('img').length") == 0
    for figure in names:
        texts = f"#{figure} .gtitle, #{figure} .xtitle, #{figure} .ytitle, #{figure} .modebar, #{figure} .xtick text"
        assert overlaps(browser, texts) == [], figure
    assert overlaps(browser, "h1, h2, body > p, .cards, .figures > div, .candidates > div, body > .scroll") == []


def test_another_candidate(browser, screened):
    browser.open(screened)
    figures_are_drawn(browser)
    first = structure_is_drawn(browser)
    assert browser.run("document.querySelectorAll('#candidate-table tbody tr').length") == 20
    before = browser.run("document.getElementById('chosen-id').textContent")
    browser.click("#candidate-table tbody tr:nth-child(4) td:nth-child(3)")
    browser.wait(f"document.getElementById('chosen-id').textContent !== {before!r}".replace("\\u202e", "\u202e"))
    rows = "document.querySelectorAll('#candidate-table tbody tr')"
    assert browser.run(f"[...{rows}].map((row) => row.getAttribute('aria-selected')).indexOf('true')") == 3
    name = "document.getElementById('candidates')"
    assert browser.run(f"document.getElementById('chosen-id').textContent === JSON.parse({name}.textContent).candidates[3].id")
    assert browser.run("document.getElementById('chosen-id').textContent").startswith(EVIL)
    second = structure_is_drawn(browser)
    assert np.abs(first - second).max() > 50
    nothing_is_wrong(browser, screened)


def test_atoms_cells_and_bonds(browser, screened):
    """A cubic perovskite has 5 atoms, 15 with those on the faces of the cell, and 6 bonds around the middle."""
    browser.open(screened)
    figures_are_drawn(browser)
    atoms = "document.getElementById('structure').data.filter((t) => t.mode === 'markers').reduce((n, t) => n + t.x.length, 0)"
    assert browser.run(atoms) == 8 + 1 + 6
    lines = "document.getElementById('structure').data.filter((t) => t.mode === 'lines').map((t) => t.x.length / 3)"
    bonds, edges = browser.run(lines)
    assert edges == 12
    assert bonds >= 6
    browser.click("#images")
    browser.wait(f"{atoms} === 5")
    choose = "((e) => { e.value = '2'; e.dispatchEvent(new Event('change')); })(document.getElementById('repeat'))"
    browser.run(choose)
    browser.wait(f"{atoms} === 40")
    browser.click("#bonds")
    browser.wait(f"{lines}.length === 1")
    assert browser.run(lines) == [27]  # 3 x 3 lines along each vector
    structure_is_drawn(browser)
    assert browser.problems == []


def test_a_narrow_window(browser, screened):
    browser.resize(480, 900)
    try:
        browser.open(screened)
        figures_are_drawn(browser)
        nothing_is_wrong(browser, screened)
    finally:
        browser.resize(1280, 900)


def test_evaluation_report(browser, crystals, model, tmp_path):
    pytest.importorskip("torchmetrics", reason="evaluate computes with it")
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    from cgfast.elements import SYMBOLS
    from cgfast.evaluation import evaluate

    pointers = crystals.graph_ptr
    spans = [slice(a, b) for a, b in pairwise(pointers)]
    table = {
        "id": crystals.ids.tolist(),
        "lattice_vectors": crystals.cell.tolist(),
        "cartesian_site_positions": [crystals.positions[span].tolist() for span in spans],
        "species_at_sites": [[SYMBOLS[z] for z in crystals.atomic_numbers[span].tolist()] for span in spans],
        "energy_per_atom_eV": np.linspace(-1.0, 1.0, len(crystals)),
        "gap_eV": np.arange(len(crystals)) % 2.0,
    }
    pq.write_table(pa.table(table), tmp_path / "data.parquet")
    path = evaluate(model, tmp_path / "data.parquet").report(tmp_path / "report.html")
    browser.open(path)
    names = figures_are_drawn(browser)
    assert len(names) >= 8
    nothing_is_wrong(browser, path)
    for figure in names:
        texts = f"#{figure} .gtitle, #{figure} .xtitle, #{figure} .ytitle, #{figure} .modebar, #{figure} .legend"
        assert overlaps(browser, texts) == [], figure


def test_the_browser_tells_of_problems(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://example.org/x.png'><script>console.error('said'); undefinedFunction()</script>")
    browser.open(page)
    browser.wait("true")
    assert any("said" in problem for problem in browser.problems)
    assert any("undefinedFunction" in problem for problem in browser.problems)
    assert "http://example.org/x.png" in browser.requests
