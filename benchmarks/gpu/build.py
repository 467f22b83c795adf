"""Builds the checkout with CUDA into build/gpu/site, beside what is installed or not; and the program of the ceilings."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any

from benchmarks.gpu import isolated
from benchmarks.gpu.settings import BUILD, CEILINGS, ROOT, SITE


def build(seconds: float, *, dry: bool = False) -> dict[str, Any]:
    """Status and times. A dry run takes the cgfast that can be imported."""
    if dry:
        return {"status": "ok", "note": "dry run: nothing was built"}
    end = time.monotonic() + seconds
    configure = ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-DCGFAST_CUDA=ON", "-DCMAKE_BUILD_TYPE=Release"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={_pybind11()}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    environment = {"CUDAARCHS": os.environ.get("CUDAARCHS", "native")}
    jobs = str(len(os.sched_getaffinity(0)))
    steps = {
        "configure": configure,
        "compile": ["cmake", "--build", str(BUILD), "--parallel", jobs, "--target", "_core"],
        "ceilings": ["nvcc", "-O3", "-arch=native", "-o", str(CEILINGS), str(ROOT / "benchmarks" / "gpu" / "ceilings.cu")],
    }
    found: dict[str, Any] = {"status": "ok", "jobs": int(jobs)}
    for name, command in steps.items():
        step = isolated.run(command, max(end - time.monotonic(), 1.0), environment)
        found[f"{name}_seconds"] = step["seconds"]
        if step["status"] == "ok":
            continue
        found[f"{name}_error"] = step["error"]
        if name != "ceilings":  # without them the shares of the limits are missing, no more
            return {**found, "status": step["status"], "error": f"{name}: {step['error']}"}
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(ROOT / "cgfast", SITE / "cgfast", ignore=shutil.ignore_patterns("_core.*.so", "__pycache__"))
    for core in BUILD.glob("_core.*.so"):
        shutil.copy2(core, SITE / "cgfast" / core.name)
    return found


def _pybind11() -> str:
    import pybind11

    return str(pybind11.get_cmake_dir())
