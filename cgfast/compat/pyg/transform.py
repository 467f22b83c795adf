"""A PyG transform that finds the periodic graph of a crystal."""

from __future__ import annotations

from typing import Any

import torch

from cgfast._optional import require
from cgfast.basis import GaussianBasis
from cgfast.neighbors import GraphSpec, neighbor_list

BaseTransform: Any = require("torch_geometric.transforms", "pyg").BaseTransform


class CrystalGraphTransform(BaseTransform):  # type: ignore[misc] # PyG is optional: its classes have no types here
    """Attach the graph that cgfast.build_graphs() makes of a crystal to a torch_geometric `Data`.

    Reads pos (N, 3) Å; cell, else lattice, (3, 3) or (1, 3, 3) Å with lattice vectors as rows (without them nothing is
    periodic); and pbc, a bool, (3,) or (1, 3) (default: all axes of a cell). Writes edge_index (2, E), rows (source,
    target), in rows by target; distances (E,) float64 Å; shifts (E, 3) int32; edge_weight (E,) float64 if the spec's ties
    are shells; and edge_attr (E, K), in torch's default dtype, if there is a basis. An edge_attr or edge_weight of other
    edges that the data had is removed. All is detached: for forces, differentiate cgfast.functional.edge_distances().

    spec: default GraphSpec() (12 nearest inside 8 Å). basis: a GaussianBasis for edge_attr. The data that comes in is not
    changed. Positions and cells stored as float64 keep ties between neighbours as they are in the crystal.

    Raises ImportError with the command to install torch_geometric if it is missing; ValueError for data without pos, for a
    batch (apply the transform before batching), values that are not finite, and cells without volume on a periodic axis.
    Same bits on every run.
    """

    def __init__(self, spec: GraphSpec | None = None, basis: GaussianBasis | None = None) -> None:
        for name, value, kind in (("spec", spec, GraphSpec), ("basis", basis, GaussianBasis)):
            if value is not None and not isinstance(value, kind):
                msg = f"{name} must be a {kind.__name__} or None, got {value!r}"
                raise ValueError(msg)
        self.spec = GraphSpec() if spec is None else spec
        self.basis = basis

    def forward(self, data: Any) -> Any:  # noqa: ANN401 - torch_geometric is optional
        """`data` with its graph; called by PyG with a shallow copy of what the user has."""
        found = neighbor_list(*_geometry(data), **self.spec.to_dict())
        for name in ("edge_attr", "edge_weight"):
            if name in data:
                del data[name]
        data.edge_index, data.distances, data.shifts = found.edge_index, found.distances, found.shifts
        if found.edge_weight is not None:
            data.edge_weight = found.edge_weight
        if self.basis is not None:
            data.edge_attr = self.basis(found.distances).to(torch.get_default_dtype())
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(spec={self.spec!r}, basis={self.basis!r})"


def _geometry(data: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - torch_geometric is optional
    """Positions, cell and periodic axes of one crystal."""
    positions = getattr(data, "pos", None)
    if positions is None:
        msg = f"data must have positions in pos, got {data!r}"
        raise ValueError(msg)
    if getattr(data, "batch", None) is not None or getattr(data, "ptr", None) is not None:
        msg = f"data must be one crystal: apply the transform before batching, got {data!r}"
        raise ValueError(msg)
    cell = getattr(data, "cell", None)
    cell = getattr(data, "lattice", None) if cell is None else cell
    if cell is not None:
        cell = torch.as_tensor(cell)
        cell = cell[0] if cell.dim() == 3 and len(cell) == 1 else cell
    pbc = getattr(data, "pbc", None)
    pbc = cell is not None if pbc is None else torch.as_tensor(pbc)
    return torch.as_tensor(positions), cell, pbc
