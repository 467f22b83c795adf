"""A cgfast model as an ASE calculator."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from cgfast._optional import require
from cgfast.models import PropertyModel, load_model

_ase = require("ase.calculators.calculator", "ase")

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

DTYPES = (None, "float32", "float64")
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # ASE's order: xx, yy, zz, yz, xz, xy


class Calculator(_ase.Calculator):  # type: ignore[misc,name-defined] # ASE has no types
    """Energy (eV), forces (eV/Å) and stress (eV/Å^3) of a cgfast model for ASE.

    model: a PropertyModel that predicts an energy, or what cgfast.load_model() takes. ties: another rule for ties than the
    model's, "shell" being the one for which symmetric crystals have symmetric forces. dtype: "float64" computes with a
    float64 copy of the network (for finite differences, phonons and tight relaxations); default: the network's own. The
    calculator keeps its own copy of the network, and computes on one thread.

    Forces and stress are exact derivatives with the neighbours held fixed, see PropertyModel.energy_forces_stress(); where
    neighbours change places the energy jumps. free_energy is the energy. Stress exists for atoms that are periodic in three
    directions; else ASE's PropertyNotImplementedError is raised. Same bits on every run.

    Raises ValueError for a model that cannot be loaded or predicts no energy, unknown ties or dtype, and, when something is
    computed, for atoms that the model cannot predict: unknown elements, positions that are not finite, a flat cell.
    """

    name = "cgfast"
    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        model: PropertyModel | str | os.PathLike[str],
        *,
        ties: str | None = None,
        dtype: str | None = None,
    ) -> None:
        import torch

        from cgfast.models.forces import check_energy_model, frozen

        super().__init__()
        if dtype not in DTYPES:
            msg = f"dtype must be one of {', '.join(map(repr, DTYPES))}, got {dtype!r}"
            raise ValueError(msg)
        loaded = model if isinstance(model, PropertyModel) else load_model(model)
        check_energy_model(loaded)
        wanted = None if dtype is None else getattr(torch, dtype)
        with torch.inference_mode(mode=False):
            networks = tuple(frozen(copy.deepcopy(network), wanted) for network in loaded.networks)
        self.model = replace(loaded if ties is None else loaded.with_ties(ties), networks=networks)
        self.parameters.update(model=self.model.name, sha256=self.model.sha256, ties=self.model.spec.ties)
        if dtype is not None:
            self.parameters["dtype"] = dtype

    def calculate(
        self,
        atoms: Any = None,  # noqa: ANN401 - ASE has no types
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(_ase.all_changes),
    ) -> None:
        """Fill `results` with all properties at once, whatever `properties` asks for: they share the work."""
        super().calculate(atoms, properties, system_changes)
        found = self.model.energy_forces_stress(self.atoms, threads=1)
        energy = float(found.energies[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": found.forces}
        if self.atoms.pbc.all():
            self.results["stress"] = found.stress[0][_VOIGT]
