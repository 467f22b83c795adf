"""The reader of ptxas' reports, on recorded ones."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "check_ptxas.py"
KERNEL = "_ZN6cgfast4cuda45_GLOBAL__N__a13ec5ec_7_pool_cu_e857ca60_2436411pool_graphsIdLb1ELb0EEEvNS1_8PoolRowsIT_EEPKllbPS4_"
COLD = "_ZN6cgfast4cuda43_GLOBAL__N__5d06d55b_10_prepare_cu_d2367c0013make_latticesENS0_10SearchDataE"
WARNING = "ptxas warning : Value of threads per SM for entry pool_graphs is out of range. .minnctapersm will be ignored"


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("check_ptxas", TOOL)
    module = importlib.util.module_from_spec(specification)
    sys.modules["check_ptxas"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["check_ptxas"]


def entry(name, stores, loads, registers=48, architecture="sm_90", stack=0):
    return (
        f"ptxas info    : 0 bytes gmem\n"
        f"ptxas info    : Compiling entry function '{name}' for '{architecture}'\n"
        f"ptxas info    : Function properties for {name}\n"
        f"    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads\n"
        f"ptxas info    : Used {registers} registers, used 1 barriers, {stack} bytes cumulative stack size\n"
        f"ptxas info    : Compile time = 88.084 ms\n"
    )


def run(tool, monkeypatch, capsys, tmp_path, log):
    path = tmp_path / "log"
    path.write_text(log, encoding="utf-8")
    sources = tmp_path / "csrc"
    sources.mkdir(exist_ok=True)
    sources.joinpath("a.cu").write_text(
        "__global__ void __launch_bounds__(warps* warp_size, sizeof(T) == 4 ? 5 : 4)\n    pool_graphs(int n) {}\n"
        "__global__ void __launch_bounds__(threads) make_lattices(const SearchData search) {}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(tool, "unseen", lambda kernels, of=tool.unseen: of(kernels, sources))
    monkeypatch.setattr(sys, "argv", ["check_ptxas.py", str(path)])
    return tool.main(), capsys.readouterr().out


def test_figures(tool):
    log = "[1/2] Building CUDA object pool.cu.o\n" + entry(KERNEL, 16, 24, 72, stack=328) + entry(COLD, 0, 0, 32, "sm_120")
    kernels, warnings = tool.read(log)
    assert not warnings
    assert kernels == [tool.Kernel(KERNEL, "sm_90", 72, 328, 40), tool.Kernel(COLD, "sm_120", 32, 0, 0)]


def test_a_function_that_is_called_counts_too(tool):
    called = "ptxas info    : Function properties for f\n    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
    kernels, _ = tool.read(entry(KERNEL, 0, 0) + called)
    assert (kernels[0].stack, kernels[0].spills) == (8, 8)


@pytest.mark.parametrize(
    ("log", "code", "says"),
    [
        (entry(KERNEL, 0, 0) + entry(COLD, 0, 0), 0, "2 kernels, 0 of them hot and spilling, 0 warnings"),
        (entry(KERNEL, 0, 4) + entry(COLD, 0, 0), 1, "SPILLS 4 bytes"),
        (entry(KERNEL, 0, 0) + entry(COLD, 48, 56), 0, "SPILLS 104 bytes"),
        (entry(KERNEL, 0, 0) + WARNING + "\n" + entry(COLD, 0, 0), 1, WARNING),
        (entry(KERNEL, 0, 0) + "a.cu(3): warning #177-D: variable never used\n" + entry(COLD, 0, 0), 1, "#177-D"),
        (entry(KERNEL, 0, 0), 1, "not in the log: make_lattices."),
        ("ninja: no work to do.\n", 1, "not in the log: make_lattices, pool_graphs."),
    ],
)
@pytest.mark.parametrize("demangles", [True, False])
def test_what_fails(tool, monkeypatch, capsys, tmp_path, log, code, says, demangles):
    if not demangles:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    found, out = run(tool, monkeypatch, capsys, tmp_path, log)
    assert found == code
    assert says in out


def test_every_kernel_is_known_by_name(tool):
    names = tool.unseen([])
    assert {"message_rows", "target_gradients", "source_gradients", "nearest_rows", "make_lattices", "pool_graphs"} <= set(
        names
    )
    text = "".join(path.read_text(encoding="utf-8") for path in tool.SOURCES.rglob("*") if path.is_file())
    assert len(names) == text.count("__global__ ")


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="no c++filt on this machine")
def test_names_are_readable(tool):
    assert tool.demangled([KERNEL, COLD]) == ["pool_graphs<double, true, false>", "make_lattices"]
