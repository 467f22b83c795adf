"""Building with and without CUDA: what CMake says, what the core says, and that neither needs a driver."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

import cgfast
from cgfast import _core

ROOT = Path(__file__).resolve().parents[1]


def configure(folder, *options, **environment):
    """CMake's answer without a CUDA compiler."""
    program = shutil.which("cmake")
    if program is None:
        pytest.skip("this machine has no cmake")
    kept = {name: value for name, value in os.environ.items() if name not in {"CGFAST_CUDA", "CUDAARCHS"}}
    return subprocess.run(
        [program, "-S", ROOT, "-B", folder, "-DCGFAST_PYTHON=OFF", *options],
        env={**kept, "CUDACXX": "/nowhere/nvcc", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_on_without_a_compiler_is_one_clear_error(tmp_path):
    answer = configure(tmp_path, CGFAST_CUDA="ON")
    assert answer.returncode != 0
    errors = re.findall(r"CMake Error at (.*)\n((?:  .*\n|\n)*)", answer.stderr)
    assert len(errors) == 1
    says = " ".join(errors[0][1].split())
    assert says == "CGFAST_CUDA=ON, but no CUDA compiler works here: put nvcc on the PATH or set CUDACXX to it"


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        ((), {}, "cgfast: CPU only, no CUDA compiler found"),
        ((), {"CGFAST_CUDA": "auto"}, "cgfast: CPU only, no CUDA compiler found"),
        ((), {"CGFAST_CUDA": "OFF"}, "cgfast: CPU only (CGFAST_CUDA=OFF)"),
        (("-DCGFAST_CUDA=OFF",), {"CGFAST_CUDA": "ON"}, "cgfast: CPU only (CGFAST_CUDA=OFF)"),
    ],
)
def test_without_a_compiler(tmp_path, options, environment, says):
    answer = configure(tmp_path, *options, **environment)
    assert answer.returncode == 0, answer.stderr
    assert says in answer.stdout


def test_an_unknown_choice(tmp_path):
    answer = configure(tmp_path, CGFAST_CUDA="perhaps")
    assert answer.returncode != 0
    assert "CGFAST_CUDA must be AUTO, ON or OFF, got 'PERHAPS'" in answer.stderr


def test_what_the_core_says_of_itself():
    if not _core.cuda_built():
        assert _core.cuda_architectures() == ""
        assert _core.cuda_version() == ""
        return
    assert re.fullmatch(r"(\w+(-real|-virtual)? ?)+", _core.cuda_architectures())
    assert int(_core.cuda_version().split(".")[0]) >= 12


def test_the_cpu_serves_whatever_the_build(monkeypatch):
    """In a build with kernels too, on a machine without a driver too."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = cgfast.neighbor_list(np.zeros((1, 3)), np.eye(3) * 2.0, True, 2.5)
    assert found.n_edges == 6


def test_both_kinds_of_wheel_are_for_the_same_pythons():
    cpu = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
    cuda = tomllib.loads((ROOT / "tools/cuda-wheels.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
    for key in ("build", "skip", "build-frontend"):
        assert cpu[key] == cuda[key]
    assert cpu["linux"]["manylinux-x86_64-image"] == cuda["linux"]["manylinux-x86_64-image"]
    assert cpu["environment"]["CGFAST_CUDA"] == "OFF"
    assert cuda["linux"]["environment"]["CGFAST_CUDA"] == "ON"


def test_what_a_wheel_must_hold():
    check_wheel = runpy.run_path(str(ROOT / "tools/check_wheel.py"))["problems"]
    everything = "75-real 80-real 86-real 89-real 90-real 100-real 110-real 120"
    assert check_wheel("cuda", everything, built=True) == []
    assert check_wheel("cpu", "", built=False) == []
    assert check_wheel("cuda", "80 90", built=True) == ["no code for 75, 86, 89, 100, 120"]
    assert check_wheel("cuda", "", built=False) == ["a cuda wheel that holds no CUDA kernels"]
    assert check_wheel("cpu", everything, built=True) == ["a cpu wheel that holds CUDA kernels"]
