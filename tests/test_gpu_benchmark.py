"""The GPU benchmark's way through its sections, on the CPU with tiny sizes; its figures mean nothing here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the benchmark is one of torch's tensors")
pytestmark = pytest.mark.filterwarnings("ignore")  # peers may warn as they like
ROOT = str(Path(__file__).resolve().parents[1])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, ROOT])  # at the end: the installed cgfast stays the one that is tested


@pytest.fixture
def runner(tmp_path):
    from benchmarks.gpu.__main__ import Runner

    return Runner(dry=True, scratch=tmp_path)


CEILINGS = {"copy_bytes_per_second": 4e12, "sfu_per_second": 4e12}


def measured(name):
    from benchmarks.gpu import section, settings

    kept = []
    found = section.measure(name, settings.sizes(dry=True), lambda found: kept.append(json.dumps(found)), CEILINGS)
    assert json.loads(json.dumps(found)) == found
    assert kept
    return found


def test_neighbors():
    found = measured("neighbors")
    assert found["checked"]
    assert [row.get("crystals_of", "one") for row in found["rows"]] == ["1-20", "20", "64", "256", "one"]
    for row in found["rows"]:
        assert row["nearest_atoms_per_second"] > 0
        assert row["pairs_per_second"] > 0
        assert 20 * row["atoms"] < row["pairs"] < 50 * row["atoms"]  # crystals of a plausible density


def test_layers():
    found = measured("layers")
    assert found["relative_error_of_kernel"] < 2e-5
    for row in found["rows"]:
        assert row["kernel_forward"] > 0
        assert row["layer_forward_backward"] > 0
        assert "pyg_eager_over_ours_forward" in row or "pyg_eager_error" in row
        limits = row["limits"]
        # 16 bytes an edge, and of an atom p, q, the output and row_ptr over its 12 edges; 256 special functions.
        assert limits["copy_forward"] == pytest.approx((16 + (320 * 4 + 8) / 12) / 4)
        assert limits["sfu_forward"] == pytest.approx(64)
        assert limits["sfu_forward_backward"] == pytest.approx(144)


def test_models_and_training():
    found = measured("models")
    assert found["relative_error"] < 1e-4
    assert all(row["with_graphs_per_second"] > 0 and row["given_graphs_per_second"] > 0 for row in found["rows"])
    assert found["all_in_memory"]["crystals"] == 8
    found = measured("training")
    assert found["relative_error_of_gradients"] < 1e-4
    assert found["ours_crystals_per_second"] > 0


def test_every_kernel_for_the_sanitizer(monkeypatch, capsys):
    from benchmarks.gpu import small

    monkeypatch.setattr(sys, "argv", ["small", "--device", "cpu"])
    small.main()
    assert capsys.readouterr().out == "every kernel ran\n"


def test_crystals():
    from benchmarks.gpu import crystals

    batch = crystals.batch(np.array([1, 5, 20, 300]))
    assert batch.graph_ptr.tolist() == [0, 1, 6, 26, 326]
    np.testing.assert_allclose(np.abs(np.linalg.det(batch.cell)), 16.0 * np.array([1, 5, 20, 300]))
    assert len(np.unique(batch.positions.round(3), axis=0)) == 326
    assert crystals.counts_of("20", 1000).tolist() == [20] * 50
    assert crystals.relative_error(torch.tensor([1.0, float("nan")]), torch.ones(2)) != crystals.relative_error(
        *2 * [torch.ones(2)]
    )


def test_a_wrong_answer_is_not_timed(monkeypatch):
    from benchmarks.gpu import layers, models
    from cgfast import functional

    right = functional.gated_message
    monkeypatch.setattr(functional, "gated_message", lambda *a, **k: right(*a, **k) * 1.001)
    with pytest.raises(AssertionError, match="the kernel is off by"):
        measured("layers")
    monkeypatch.setattr(models, "TOLERANCE", 0.0)
    with pytest.raises(AssertionError, match="the network is off by"):
        measured("models")
    assert layers.TOLERANCE < 1e-3


def test_processes_end_in_time(tmp_path):
    from benchmarks.gpu import isolated

    marker = tmp_path / "alive"
    script = f"import subprocess, time; print('begun', flush=True); subprocess.run(['sh', '-c', 'sleep 3; touch {marker}'])"
    found = isolated.run([sys.executable, "-c", script], 1.5)
    assert found["status"] == "timeout"
    assert found["error"].startswith("stopped after 2 s: ")
    failed = isolated.run([sys.executable, "-c", "raise ValueError('no luck')"], 60)
    assert failed["status"] == "failed"
    assert failed["error"].endswith("ValueError: no luck")
    assert isolated.run([sys.executable, "-c", "print(1)"], 60)["output"] == "1\n"
    assert not marker.exists()


def test_a_section_that_fails_stops_nothing(runner, monkeypatch):
    from benchmarks.gpu import isolated

    monkeypatch.setattr(
        isolated, "run", lambda *_: {"status": "failed", "seconds": 1.0, "output": "x", "error": "exit code 3: x"}
    )
    runner.scratch.joinpath("layers.json").write_text('{"rows": [1]}', encoding="utf-8")
    found = runner.section("layers", 10)
    assert found["status"] == "failed"
    assert found["rows"] == [1]  # what it had before
    assert found["error"] == "exit code 3: x"
    assert "output" not in found
    assert runner.section("nonsense", 10)["status"] == "failed"
    monkeypatch.setattr(isolated, "run", lambda *_: 1 / 0)
    assert runner.section("tests", 10)["error"] == "ZeroDivisionError: division by zero"


def test_the_whole_run_is_written_down(tmp_path, monkeypatch, capsys):
    from benchmarks.gpu import __main__ as command

    monkeypatch.setattr(command, "description", lambda: {"gpu": "NVIDIA Card 3"})
    monkeypatch.setattr(command.settings, "RESULTS", tmp_path)
    monkeypatch.setattr(command.Runner, "_section", lambda _, name, _s: {"status": "failed" if name == "models" else "ok"})
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--dry-run"])
    assert command.main() == 1
    found = json.loads((tmp_path / "nvidia-card-3-dry-run.json").read_text(encoding="utf-8"))
    assert list(found["sections"]) == list(command.settings.SECTIONS)
    assert found["sections"]["models"]["status"] == "failed"
    assert found["sections"]["training"]["status"] == "ok"
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--dry-run", "--budget", "0", "--only", "layers"])
    assert command.main() == 0
    found = json.loads((tmp_path / "nvidia-card-3-dry-run.json").read_text(encoding="utf-8"))
    assert found["sections"] == {"layers": {"status": "skipped", "note": "the 0 s of the whole run were used up"}}
    assert "skipped" in capsys.readouterr().out


def test_sections_fit_the_budget():
    from benchmarks.gpu import settings

    assert settings.BUDGET <= 480
    assert max(settings.SECTIONS.values()) < settings.BUDGET / 2


def test_a_section_runs_in_a_process_of_its_own(runner):
    found = runner.section("neighbors", 120)
    assert found["status"] == "ok", found
    assert found["checked"]
    assert runner.section("ceilings", 1)["status"] == "skipped"
    assert runner.section("build", 1)["status"] == "ok"
