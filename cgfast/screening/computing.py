"""What computes the predictions of a job: models in their place, and how many atoms and rows they get at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from cgfast._devices import AUTO, chosen_device
from cgfast.batch_pool import BatchPool
from cgfast.graph import batch_atoms_on
from cgfast.screening.job import BATCH_ROWS, CUDA_BATCH_ROWS, open_models, place_models
from cgfast.screening.predict import BatchPredictor

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import torch

    from cgfast.models import PropertyModel
    from cgfast.screening.job import Job
    from cgfast.screening.policies import Policies
    from cgfast.screening.ray.options import RayOptions


@dataclass(frozen=True, slots=True)
class Computing:
    """Models and the settings that they compute with.

    place: the CUDA device of this process that graphs are made on, if any. kind: "cpu" or "cuda", whoever computes: with Ray
    that is not this process. threads: None for the default of this process.
    """

    models: Sequence[PropertyModel]
    place: torch.device | None
    kind: str
    policies: Policies
    ties: str | None
    batch_atoms: int
    threads: int | None

    @classmethod
    def open(
        cls,
        models: Any,  # noqa: ANN401 - see open_models
        job: Job,
        policies: Policies,
        *,
        device: object,
        atom_init: str | os.PathLike[str] | None,
        on_ray: RayOptions | None,
    ) -> Self:
        """Load the models and put them in their place. Raises ValueError where that is impossible."""
        loaded = open_models(models, atom_init=atom_init)
        if on_ray is None:
            loaded, place = place_models(loaded, device)
            kind = "cpu" if place is None else place.type
        else:
            kind = _kind_of_workers(device, on_ray)
            loaded, place = place_models(loaded, "cpu")  # from where they travel
        atoms = batch_atoms_on(kind) if job.batch_atoms is None else job.batch_atoms
        return cls(loaded, place, kind, policies, job.ties, atoms, job.threads)

    @property
    def batch_rows(self) -> int:
        """Rows of input to read at a time."""
        return CUDA_BATCH_ROWS if self.kind == "cuda" else BATCH_ROWS

    def new_pool(self) -> BatchPool:
        """The threads of this process that compute; a CUDA device has one."""
        return BatchPool(self.threads if self.place is None else 1)

    def predictor(self, pool: BatchPool) -> BatchPredictor:
        """What predicts batches of crystals in this process."""
        return BatchPredictor(
            self.models, ties=self.ties, batch_atoms=self.batch_atoms, pool=pool, policies=self.policies, device=self.place
        )


def _kind_of_workers(device: object, on_ray: RayOptions) -> str:
    """The workers of a Ray cluster compute on the GPUs that are set aside for them; this process need not have one."""
    if on_ray.gpus_per_worker:
        return "cuda"
    if str(device).startswith("cuda"):
        msg = f"device: got {str(device)!r}, but with engine='ray' a worker has only the GPUs that gpus_per_worker sets aside"
        raise ValueError(msg)
    if device not in {None, AUTO}:
        chosen_device(device)
    return "cpu"
