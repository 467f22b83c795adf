"""Which engine runs a job, and how it is to use Ray."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class RayOptions:
    """How to use Ray. Raises ValueError for numbers that are out of range.

    address: of a running cluster ("auto", "ray://host:10001", "host:6379"); None: RAY_ADDRESS, else one on this machine.
    num_workers: actors; None for as many as the cluster has room for. gpus_per_worker: that Ray sets aside for each.
    """

    address: str | None = None
    num_workers: int | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.num_workers is not None and (
            isinstance(self.num_workers, bool) or not isinstance(self.num_workers, Integral) or self.num_workers < 1
        ):
            msg = f"num_workers: got {self.num_workers!r}, expected a whole number of at least 1"
            raise ValueError(msg)
        if isinstance(self.gpus_per_worker, bool) or not self.gpus_per_worker >= 0:
            msg = f"gpus_per_worker: got {self.gpus_per_worker!r}, expected a number of at least 0"
            raise ValueError(msg)


def ray_options(
    engine: str, out: Path | None, *, address: str | None, num_workers: int | None, gpus_per_worker: float
) -> RayOptions | None:
    """What the options of `screen` ask for; None for a run in this process. Raises ValueError if they do not go together."""
    options = RayOptions(address, num_workers, gpus_per_worker)
    if engine not in ENGINES:
        msg = f"engine: got {engine!r}, expected 'local' or 'ray'"
        raise ValueError(msg)
    if engine == "ray":
        if out is None:
            msg = "engine: 'ray' needs out, a file to write"
            raise ValueError(msg)
        return options
    for name in ("address", "num_workers", "gpus_per_worker"):
        if getattr(options, name):
            msg = f"{name}: only has a meaning with engine='ray'"
            raise ValueError(msg)
    return None
