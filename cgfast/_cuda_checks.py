"""What `cgfast doctor` says of CUDA: the driver, the device that torch sees, and the kernels of this build.

probe() looks; checks() explains what was found and names the next step.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgfast._check import Check

NO_CUDA_KERNELS = "this build has no CUDA kernels; CUDA tensors run the PyTorch formulas"
# The first driver of each major version of CUDA; it runs what any compiler of that major version has built.
FIRST_DRIVER = {11: 450, 12: 525, 13: 580}


@dataclass(frozen=True, slots=True)
class Cuda:
    """What there is of CUDA. Versions as (major, minor)."""

    architectures: str | None = None  # of the kernels in this build, as CMake names them; None: it has none
    compiler: tuple[int, int] | None = None  # CUDA that made them
    driver: tuple[int, int] | None = None  # the newest CUDA that the driver knows; None: there is no driver
    card: bool = False  # whether an NVIDIA card is plugged in, driver or not
    torch: str | None = None  # its version; None: not installed
    torch_cuda: tuple[int, int] | None = None  # CUDA that torch was built for; None: for the CPU
    device: str | None = None  # name of the first device that torch sees
    capability: tuple[int, int] | None = None  # of that device
    visible: str | None = None  # CUDA_VISIBLE_DEVICES


def probe(core: Any | None, torch: Any | None) -> Cuda:  # noqa: ANN401 - modules, None if missing
    """Look at everything; raises nothing."""
    built = core is not None and bool(getattr(core, "cuda_built", bool)())
    device, capability = _device(torch)
    return Cuda(
        architectures=str(core.cuda_architectures()) if built and core is not None else None,
        compiler=_version(getattr(core, "cuda_version", str)()) if built else None,
        driver=_driver(),
        card=_card(),
        torch=None if torch is None else str(torch.__version__),
        torch_cuda=None if torch is None else _version(torch.version.cuda),
        device=device,
        capability=capability,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def checks(found: Cuda, build: str) -> list[Check]:
    """The lines of the report. build: the command that builds the compiled part."""
    return [_check_driver(found), _check_device(found), _check_kernels(found, f"CGFAST_CUDA=ON {build}")]


def _check_driver(found: Cuda) -> Check:
    name = "CUDA driver"
    if found.driver is None:
        needed = (found.compiler or found.torch_cuda or (12, 0))[0]
        advice = (
            f"install NVIDIA's driver {FIRST_DRIVER.get(needed, 580)} or newer (CUDA {needed}), then see what nvidia-smi says"
        )
        if found.card:
            return Check(name, "none, though an NVIDIA card is there: everything runs on the CPU", ok=False, advice=advice)
        if found.architectures is not None:
            return Check(name, "none, so the CUDA kernels rest and everything runs on the CPU", ok=False, advice=advice)
        return Check(name, "none")
    knows = f"knows CUDA up to {_text(found.driver)}"
    for who, wanted in (("this build of cgfast", found.compiler), ("torch", found.torch_cuda)):
        if wanted is not None and found.driver[0] < wanted[0]:
            what = "build cgfast with an older nvcc" if who != "torch" else "install a torch for an older CUDA"
            advice = f"update NVIDIA's driver to {FIRST_DRIVER.get(wanted[0], 580)} or newer, or {what}"
            return Check(name, f"{knows}, too old for {who} (CUDA {_text(wanted)})", ok=False, advice=advice)
    return Check(name, knows)


def _check_device(found: Cuda) -> Check:
    name = "CUDA device"
    if found.device is not None:
        return Check(name, f"available to torch ({found.device})")
    if found.driver is None or found.torch is None:
        return Check(name, "none")
    if found.torch_cuda is None:
        index = f"https://download.pytorch.org/whl/cu{found.driver[0]}{0 if found.driver[0] > 12 else 6}"
        advice = f"install a torch with CUDA: pip install --force-reinstall torch --index-url {index}"
        return Check(name, f"unknown: torch {found.torch} was built for the CPU", ok=False, advice=advice)
    if found.driver[0] < found.torch_cuda[0]:
        return Check(name, "none: the driver is too old for torch")  # which the line above says how to mend
    if found.visible is not None and found.visible.split(",")[0].strip() in {"", "-1", "NoDevFiles"}:
        shown = f"none: CUDA_VISIBLE_DEVICES={found.visible!r} hides all"
        return Check(name, shown, ok=False, advice="unset CUDA_VISIBLE_DEVICES")
    advice = "see what nvidia-smi says; a container must be started with its devices (docker run --gpus all)"
    return Check(name, "none that torch sees, though there is a driver", ok=False, advice=advice)


def _check_kernels(found: Cuda, build: str) -> Check:
    name = "CUDA kernels"
    if found.architectures is None:
        return Check(name, NO_CUDA_KERNELS, ok=found.capability is None, advice=f"with nvcc on the PATH: {build}")
    by = "" if found.compiler is None else f" by CUDA {_text(found.compiler)}"
    built = f"built for {found.architectures}{by}"
    if found.capability is None or runs_on(found.architectures, found.capability):
        return Check(name, built)
    major, minor = found.capability
    cannot = f"{built}, which compute capability {major}.{minor} cannot run"
    return Check(name, cannot, ok=False, advice=f"with nvcc on the PATH: CUDAARCHS={major}{minor} {build}")


def runs_on(architectures: str, capability: tuple[int, int]) -> bool:
    """Whether code for `architectures` (CMake's names: 90-real machine code, 90-virtual PTX, 90 both) runs on a device.

    Machine code serves devices of its major version from its minor one on, PTX all devices from its version on. That of an
    architecture with a letter serves that version alone (90a), or its major version from there on (100f).
    """
    for architecture in architectures.split():
        number, _, kind = architecture.partition("-")
        digits = "".join(c for c in number if c.isdigit())
        if not digits:  # "native", "all": made for what was there, or for everything
            return True
        version = (int(digits[:-1]), int(digits[-1]))
        if number.endswith("a"):
            if version == capability:
                return True
            continue
        family = version[0] == capability[0] and version[1] <= capability[1]
        if family and (kind != "virtual" or number.endswith("f")):
            return True
        if kind != "real" and not number.endswith("f") and version <= capability:
            return True
    return False


def _version(text: object) -> tuple[int, int] | None:
    """(13, 0) of "13.0.88"; None of what is no version."""
    parts = str(text).split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _driver() -> tuple[int, int] | None:
    """Ask the driver's library, which need not see a device to say its version."""
    number = ctypes.c_int(0)
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if number.value > 0 else None


def _card() -> bool:
    """Whether Linux lists an NVIDIA display or compute card."""
    for vendor in Path("/sys/bus/pci/devices").glob("*/vendor"):
        try:
            kind = (vendor.parent / "class").read_text(encoding="ascii")
            if vendor.read_text(encoding="ascii").strip() == "0x10de" and kind.startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _device(torch: Any | None) -> tuple[str | None, tuple[int, int] | None]:  # noqa: ANN401 - the module
    """Name and compute capability of the first device that torch sees."""
    if torch is None:
        return None, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old driver makes torch warn: our own lines say so
            if not torch.cuda.is_available():
                return None, None
            return str(torch.cuda.get_device_name(0)), torch.cuda.get_device_capability(0)
    except (RuntimeError, AssertionError):  # a device that is there and cannot be used
        return None, None
