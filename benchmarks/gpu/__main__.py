"""Runs the sections one after the other and writes the JSON; see the package's docstring."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import benchmarks.gpu
from benchmarks import machine
from benchmarks.gpu import build, isolated, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = ("tests/message", "tests/neighbors", "tests/nn", "tests/models", "tests/test_graph.py")
SANITIZER_ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard")


class Runner:
    """What the sections share: the folder for their files, and the environment of their processes."""

    def __init__(self, *, dry: bool, scratch: Path) -> None:
        self.dry, self.scratch = dry, scratch
        self.ceilings = scratch / "ceilings.json"
        self.environment = {"OMP_WAIT_POLICY": "passive"}
        if not dry:  # the package with the new core comes before any other
            path = [str(settings.SITE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))

    def section(self, name: str, seconds: float) -> dict[str, Any]:
        """Its figures, or its status and error; never raises."""
        start = time.perf_counter()
        try:
            found = self._section(name, seconds)
        except Exception as error:  # noqa: BLE001 - one section's failure must not end the others
            found = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        return {"status": "ok", **found, "section_seconds": round(time.perf_counter() - start, 1)}

    def _section(self, name: str, seconds: float) -> dict[str, Any]:
        if name == "build":
            return build.build(seconds, dry=self.dry)
        if name == "ceilings":
            return self._ceilings(seconds)
        if name == "tests":
            return self._tests(seconds)
        if name in ("memcheck", "racecheck"):
            return self._sanitizer(name, seconds)
        out = self.scratch / f"{name}.json"
        command = python_module("benchmarks.gpu.section", name, str(out), str(self.ceilings))
        answer = self._run([*command, "--dry-run"] if self.dry else command, seconds)
        figures = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}  # all there were before it ended
        return {**figures, **answer}

    def _run(self, command: Sequence[str], seconds: float, **more: str) -> dict[str, Any]:
        answer = isolated.run(command, seconds, {**self.environment, **more})
        return {key: value for key, value in answer.items() if key != "output"}

    def _ceilings(self, seconds: float) -> dict[str, Any]:
        if self.dry:
            return {"status": "skipped", "note": "dry run: no device"}
        answer = isolated.run([str(settings.CEILINGS)], seconds)
        if answer["status"] != "ok":
            return answer
        self.ceilings.write_text(answer["output"], encoding="utf-8")
        found: dict[str, Any] = json.loads(answer["output"])
        return found

    def _tests(self, seconds: float) -> dict[str, Any]:
        """The tests on the device; a dry run only collects them."""
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(settings.ROOT)]
        if importlib.util.find_spec("xdist") is not None:
            command += ["-n", str(min(len(os.sched_getaffinity(0)), 6))]
        command += ["-k", "cuda", *(str(settings.ROOT / path) for path in TESTS if (settings.ROOT / path).exists())]
        answer = isolated.run([*command, "--collect-only"] if self.dry else command, seconds, self.environment)
        lines = answer.pop("output").strip().splitlines()
        return {**answer, "summary": lines[-1] if lines else ""}

    def _sanitizer(self, tool: str, seconds: float) -> dict[str, Any]:
        """Every kernel on little data under compute-sanitizer, if it is there and works on this device."""
        small = python_module("benchmarks.gpu.small")
        if self.dry:
            return self._run([*small, "--device", "cpu"], seconds)
        program = shutil.which("compute-sanitizer")
        if program is None:
            return {"status": "skipped", "note": "no compute-sanitizer on the PATH"}
        command = [program, "--tool", tool, "--error-exitcode", "9", *small]
        answer = isolated.run(command, seconds, {**self.environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})
        output = answer.pop("output")
        if "Device not supported" in output:
            return {"status": "skipped", "note": "compute-sanitizer does not support this device or machine"}
        counted = SANITIZER_ERRORS.search(output)
        return {**answer, "errors": None if counted is None else int(counted[1] or counted[2])}


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of the checkout; its root comes last, since its cgfast/ has no core."""
    code = f"import runpy, sys; sys.path.append({str(settings.ROOT)!r}); runpy.run_module({name!r}, run_name='__main__')"
    return [sys.executable, "-P", "-c", code, *arguments]


def description() -> dict[str, Any]:
    """The machine, and what torch says of its GPU."""
    found: dict[str, Any] = machine.describe()
    try:
        import torch

        found["torch_cuda"] = torch.version.cuda
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name(0)
    except ImportError as error:
        found["torch_error"] = str(error)
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    if shutil.which(query[0]):
        found["nvidia_smi"] = isolated.run(query, 20)["output"].strip()
    return found


def run(*, dry: bool, only: Sequence[str], budget: float, out: Path | None) -> Path:
    """All sections, or `only` those; the JSON is written anew after each, so that nothing is lost."""
    start = time.monotonic()
    results: dict[str, Any] = {"machine": description(), "dry_run": dry, "sections": {}}
    name = re.sub(r"[^a-z0-9]+", "-", str(results["machine"].get("gpu", "no-gpu")).lower()).strip("-")
    path = out or settings.RESULTS / f"{name}{'-dry-run' if dry else ''}.json"
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(dry=dry, scratch=Path(scratch))
        for section, most in settings.SECTIONS.items():
            if only and section not in only:
                continue
            left = budget - (time.monotonic() - start)
            note = {"status": "skipped", "note": f"the {budget:.0f} s of the whole run were used up"}
            found = runner.section(section, min(most, left)) if left > 5 else note
            results["sections"][section] = found
            print(f"{section:10} {found['status']:8} {found.get('section_seconds', 0):6.1f} s  {found.get('error', '')[:300]}")
            results["seconds"] = round(time.monotonic() - start, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> int:
    """0 if every section that ran is well."""
    parser = argparse.ArgumentParser(description=benchmarks.gpu.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with sizes that mean nothing")
    parser.add_argument("--only", nargs="+", choices=settings.SECTIONS, default=(), help="these sections alone")
    parser.add_argument("--budget", type=float, default=settings.BUDGET, help="seconds for all of it (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/<gpu>.json)")
    arguments = parser.parse_args()
    path = run(dry=arguments.dry_run, only=arguments.only, budget=arguments.budget, out=arguments.out)
    print(f"wrote {path}")
    found = json.loads(path.read_text(encoding="utf-8"))["sections"].values()
    return 0 if all(section["status"] in ("ok", "skipped") for section in found) else 1


if __name__ == "__main__":
    sys.exit(main())
