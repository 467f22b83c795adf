"""Forces and stress: derivatives of an energy with respect to positions and strain, with the edges held fixed."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from cgfast.batch_pool import BatchPool
from cgfast.functional import edge_distances
from cgfast.graph import BATCH_ATOMS, build_graphs, split_by_atoms
from cgfast.reference import rows_to_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.models.property_model import PropertyModel
    from cgfast.nn import CGCNN

PER_ATOM_UNIT = "eV/atom"
# A target in eV may be a band gap or a Fermi level; these names say that it is the energy of the whole cell.
ENERGIES_OF_A_CELL = ("energy", "total energy", "potential energy", "final energy", "formation energy")


@dataclass(frozen=True, slots=True, eq=False)
class EnergyForcesStress:
    """Energies and their derivatives for B crystals with N atoms, in the order of the input. All arrays are float64.

    energies: (B,) eV per cell. forces: (N, 3) eV/Å, -dE/dposition; those of crystal b are
    forces[graph_ptr[b]:graph_ptr[b + 1]]. stress: (B, 3, 3) eV/Å^3, (1/V) dE/dstrain, symmetric, positive where the crystal
    pulls inwards (ASE's sign); NaN for a crystal with an open axis, which has no volume. graph_ptr: (B + 1,). ids: (B,).
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    graph_ptr: NDArray[np.int64]
    ids: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.energies)


class EnergyGradients(NamedTuple):
    """energies: (B,) eV per cell. forces: (N, 3) eV/Å. strain: (B, 3, 3) dE/dstrain in eV, symmetric. All float64."""

    energies: Tensor
    forces: Tensor
    strain: Tensor


def energy_and_gradients(
    network: Callable[[CrystalGraph], Tensor],
    graph: CrystalGraph,
    positions: Tensor,
    cell: Tensor | None = None,
    *,
    per_atom: bool = True,
    mean: float = 0.0,
    std: float = 1.0,
    create_graph: bool = False,
) -> EnergyGradients:
    """Energies, forces and dE/dstrain of a batch by autograd, for prediction and for training on them.

    network: graph -> (B,) or (B, 1), a function of graph.distances such as cgfast.nn.CGCNN with a basis. graph: B crystals,
    N atoms, as build_graphs() makes it; NumPy, or torch tensors on the device of positions. positions: (N, 3) Å. cell:
    (B, 3, 3) Å, or (3, 3) for one crystal; None if nothing is periodic. per_atom, mean, std: the energy of a cell is
    (output * std + mean), times its number of atoms if per_atom. create_graph: keep what a further derivative needs, so
    that a loss on energies, forces and strain can be differentiated; the parameters' own gradients are left alone.

    Edges and edge_weight are held fixed. So are the distances above graph.spec.cutoff: such an edge stands for a missing
    neighbour (missing="pad-2018") and has no geometry. Geometry is float64, the network computes in its own dtype. The
    strain e moves positions and cell as r (1 + e). In training mode a batch norm couples the crystals of a batch: the
    derivative is that of the sum of their energies.

    Raises ValueError for shapes that do not fit, a graph with edge_attr (it would not follow the positions) or, where there
    is a cell, without shifts, and a network whose output does not depend on the distances.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        graph = graph.to(positions.device)
        _check_geometry(graph, positions, cell)
        positions = positions.to(torch.float64)
        if not positions.requires_grad:
            positions = positions.detach().requires_grad_()
        strain = torch.zeros(graph.n_crystals, 3, 3, dtype=torch.float64, device=positions.device, requires_grad=True)
        out = network(replace(graph, distances=_strained_distances(graph, positions, cell, strain)))
        if out.shape not in ((graph.n_crystals,), (graph.n_crystals, 1)):
            msg = f"network must return shape ({graph.n_crystals},) or ({graph.n_crystals}, 1), got {tuple(out.shape)}"
            raise ValueError(msg)
        energies = out.reshape(-1).to(torch.float64) * std + mean
        if per_atom:
            energies = energies * torch.diff(graph.graph_ptr)
        if not energies.requires_grad:
            raise ValueError(_NO_DEPENDENCE)
        slopes = torch.autograd.grad(energies.sum(), (positions, strain), create_graph=create_graph, allow_unused=True)
    if slopes[0] is None or slopes[1] is None:
        raise ValueError(_NO_DEPENDENCE)
    return EnergyGradients(energies if create_graph else energies.detach(), -slopes[0], slopes[1])


_NO_DEPENDENCE = "network must depend on graph.distances, got an output that does not: it has no forces"


def _check_geometry(graph: CrystalGraph, positions: Tensor, cell: Tensor | None) -> None:
    if positions.shape != (graph.n_atoms, 3) or not positions.dtype.is_floating_point:
        msg = f"positions must be floats of shape ({graph.n_atoms}, 3), got {positions.dtype} of {tuple(positions.shape)}"
        raise ValueError(msg)
    n = graph.n_crystals
    if cell is not None and cell.shape != (n, 3, 3) and not (n == 1 and cell.shape == (3, 3)):
        msg = f"cell must have shape ({n}, 3, 3), got {tuple(cell.shape)}"
        raise ValueError(msg)
    if cell is not None and graph.shifts is None and graph.n_edges:
        msg = "graph must have shifts where there is a cell, got None"
        raise ValueError(msg)
    if graph.edge_attr is not None:
        msg = "graph must have no edge_attr, got one: it would not follow the positions"
        raise ValueError(msg)


def _strained_distances(graph: CrystalGraph, positions: Tensor, cell: Tensor | None, strain: Tensor) -> Tensor:
    """(E,) lengths of the edges in crystals deformed by `strain` (B, 3, 3), whose value is zero: only its slope matters."""
    symmetric = (strain + strain.mT) / 2
    crystal = rows_to_targets(graph.graph_ptr)
    moved = positions + torch.einsum("ni,nij->nj", positions, symmetric[crystal])
    deformed = None
    if cell is not None:
        vectors = cell.to(torch.float64).reshape(-1, 3, 3)
        deformed = vectors + vectors @ symmetric
    distances = edge_distances(moved, deformed, graph.edge_index, graph.shifts, graph.graph_ptr)
    if graph.spec is None or graph.distances is None:
        return distances
    return torch.where(graph.distances > graph.spec.cutoff, graph.distances, distances)


def check_energy_model(model: PropertyModel) -> bool:
    """True if `model` predicts eV per atom, False if the energy of a cell. Raises ValueError for a target that is no energy."""
    target = model.target
    if target.classes is not None or target.unit not in (PER_ATOM_UNIT, "eV"):
        known = False
    else:
        known = target.unit == PER_ATOM_UNIT or target.property.strip().lower() in ENERGIES_OF_A_CELL
    if not known:
        msg = (
            f"model must predict an energy to have forces, got {model.name}: {target.property} in {target.unit!r}; expected "
            f"the unit {PER_ATOM_UNIT!r}, or 'eV' and the property {' or '.join(map(repr, ENERGIES_OF_A_CELL))}"
        )
        raise ValueError(msg)
    return target.unit == PER_ATOM_UNIT


def frozen_networks(model: PropertyModel, dtype: torch.dtype | None = None) -> Callable[[CrystalGraph], Tensor]:
    """What gives the model's normalised output: its network, or the mean over the members of its ensemble; see frozen()."""
    networks = [frozen(network, dtype) for network in model.networks]
    if len(networks) == 1:
        return networks[0]
    # The normaliser is linear and the members share it: this is the mean of their energies, and of their forces.
    return lambda graph: torch.stack([network(graph).double() for network in networks]).mean(dim=0)


def frozen(network: CGCNN, dtype: torch.dtype | None = None) -> CGCNN:
    """`network` in evaluation mode, in `dtype` and with parameters that want no gradient: itself if it is so, else a copy."""
    ready = not network.training and dtype in (None, next(network.parameters()).dtype)
    if ready and not any(p.requires_grad or p.is_inference() for p in network.parameters()):
        return network
    with torch.inference_mode(mode=False):
        copied = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        return copied if dtype is None else copied.to(dtype)


def energy_forces_stress(
    model: PropertyModel, crystals: Crystals, *, dtype: torch.dtype | None = None, threads: int | None = None
) -> EnergyForcesStress:
    """See PropertyModel.energy_forces_stress; `crystals` are known to be usable."""
    per_atom = check_energy_model(model)
    if dtype not in (None, torch.float32, torch.float64):
        msg = f"dtype must be torch.float32, torch.float64 or None, got {dtype!r}"
        raise ValueError(msg)
    energies = functools.partial(_batch, model, frozen_networks(model, dtype), per_atom)
    slices = list(split_by_atoms(crystals.graph_ptr, BATCH_ATOMS))
    with torch.inference_mode(mode=False), BatchPool(threads) as pool:
        if len(slices) == 1:  # handing one small crystal to a new thread would take longer than computing it
            parts = [energies(crystals)]
        else:
            futures = [pool.submit(functools.partial(energies, crystals[part])) for part in slices]
            parts = [future.result() for future in futures]
    values, forces, stress = zip(*parts, strict=True) if parts else ((), (), ())
    return EnergyForcesStress(
        np.concatenate([np.zeros(0), *values]),
        np.concatenate([np.zeros((0, 3)), *forces]),
        np.concatenate([np.zeros((0, 3, 3)), *stress]),
        np.array(crystals.graph_ptr, np.int64),
        np.asarray(crystals.ids),
    )


def _batch(
    model: PropertyModel,
    network: Callable[[CrystalGraph], Tensor],
    per_atom: bool,  # noqa: FBT001 - private
    crystals: Crystals,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    graph = build_graphs(crystals, model.spec, threads=1, device=model.device)
    cell = np.where(crystals.pbc[:, :, None], crystals.cell, 0.0)  # rows of open axes may hold anything
    found = energy_and_gradients(
        network,
        graph,
        torch.tensor(crystals.positions, device=model.device),
        torch.from_numpy(cell).to(model.device),
        per_atom=per_atom,
        mean=model.mean[0],
        std=model.std[0],
    )
    volume = np.where(crystals.pbc.all(axis=1), np.abs(np.linalg.det(cell)), np.nan)
    energies, forces, strain = (tensor.cpu().numpy() for tensor in found)
    return energies, forces, strain / volume[:, None, None]
