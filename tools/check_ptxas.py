"""Reads what ptxas says of the CUDA kernels: registers, stack, spills. Fails for hot kernels that spill, for warnings, and for
kernels of csrc/cuda that the log does not name.

    cmake -S . -B build/cuda -DCGFAST_CUDA=ON -DCGFAST_PTXAS_LOG=ON -DCGFAST_WERROR=ON
    cmake --build build/cuda --target cgfast_cuda 2>&1 | tee build/cuda.log
    python tools/check_ptxas.py build/cuda.log

Needs only Python; names are demangled where there is a c++filt.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(r"ptxas info\s+: Compiling entry function '(?P<name>\S+)' for '(?P<architecture>\w+)'")
STACK = re.compile(r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s+: Used (?P<registers>\d+) registers")
# Kernels that run once per crystal or less, and are long rather than hot.
COLD = ("make_lattices",)
SOURCES = Path(__file__).resolve().parents[1] / "csrc" / "cuda"
DEFINED = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\(")
WARNING = re.compile(r"\bwarning\b", re.IGNORECASE)


@dataclass(slots=True)
class Kernel:
    """What ptxas said of one kernel for one architecture."""

    name: str
    architecture: str
    registers: int = 0
    stack: int = 0
    spills: int = 0  # bytes stored and loaded, those of functions that it calls included

    @property
    def hot(self) -> bool:
        """Whether it must not spill."""
        return not any(cold in self.name for cold in COLD)


def read(log: str) -> tuple[list[Kernel], list[str]]:
    """The kernels and the warnings of a build's output."""
    kernels: list[Kernel] = []
    warnings = []
    for line in log.splitlines():
        if entry := ENTRY.search(line):
            kernels.append(Kernel(entry["name"], entry["architecture"]))
        elif (stack := STACK.search(line)) and kernels:
            kernels[-1].stack += int(stack["stack"])
            kernels[-1].spills += int(stack["stores"]) + int(stack["loads"])
        elif (used := USED.search(line)) and kernels:
            kernels[-1].registers = int(used["registers"])
        elif WARNING.search(line):
            warnings.append(line)
    return kernels, warnings


def unseen(kernels: list[Kernel], sources: Path = SOURCES) -> list[str]:
    """Kernels in the sources that the log does not name: it is that of a build which had some of its objects already."""
    defined = {
        name for path in sources.rglob("*") if path.is_file() for name in DEFINED.findall(path.read_text(encoding="utf-8"))
    }
    return sorted(name for name in defined if not any(f"{len(name)}{name}" in kernel.name for kernel in kernels))


def demangled(names: list[str]) -> list[str]:
    """Readable names, in order; as they are where there is no c++filt."""
    program = shutil.which("c++filt")
    if program is None or not names:
        return names
    answer = subprocess.run([program], input="\n".join(names), capture_output=True, text=True, check=True)  # noqa: S603
    return [short(name) for name in answer.stdout.splitlines()]


def short(name: str) -> str:
    """A kernel's name with its template arguments, without return type, namespaces and parameters."""
    for part in ("(anonymous namespace)::", "cgfast::cuda::", "cgfast::"):
        name = name.replace(part, "")
    name = name.removeprefix("void ")
    depth = 0
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:i]
    return name


def main() -> int:
    """Print a table; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="output of the build")
    kernels, warnings = read(parser.parse_args().log.read_text(encoding="utf-8", errors="replace"))
    names = demangled([kernel.name for kernel in kernels])
    bad = 0
    for name, kernel in sorted(zip(names, kernels, strict=True), key=lambda pair: (pair[1].architecture, pair[0])):
        spilled = kernel.spills > 0 and kernel.hot
        bad += spilled
        note = f"  SPILLS {kernel.spills} bytes" if kernel.spills else ""
        note += f"  stack {kernel.stack} bytes" if kernel.stack else ""
        print(f"{kernel.architecture:8} {kernel.registers:4} registers  {name}{note}")
    for line in warnings:
        print(line)
    missing = unseen(kernels)
    print(f"{len(kernels)} kernels, {bad} of them hot and spilling, {len(warnings)} warnings")
    if missing:
        print(f"not in the log: {', '.join(missing)}. Was it built with -DCGFAST_PTXAS_LOG=ON, and not before?")
    return 1 if bad or warnings or missing else 0


if __name__ == "__main__":
    sys.exit(main())
