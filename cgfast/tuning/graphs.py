"""The data of all trials: read, split and checked once, and its graphs built once for each way to build them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from cgfast.training.prepare import Prepared

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from cgfast.graph_store import GraphStore
    from cgfast.neighbors import GraphSpec

STORE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class SharedData(Prepared):
    """Prepared data that keeps the graphs it built, the latest ones up to STORE_BYTES together."""

    stores: OrderedDict[tuple[GraphSpec, str], GraphStore] = field(default_factory=OrderedDict)

    @classmethod
    def of(cls, prepared: Prepared) -> Self:
        """The same data, to be shared."""
        return cls(**{one.name: getattr(prepared, one.name) for one in fields(Prepared)})

    def build_store(self, spec: GraphSpec, dtype: DTypeLike, threads: int | None) -> GraphStore:
        """The graphs of all crystals, those built before if they were made alike."""
        key = (spec, np.dtype(dtype).name)
        if key not in self.stores:
            self.stores[key] = Prepared.build_store(self, spec, dtype, threads)
        self.stores.move_to_end(key)
        while len(self.stores) > 1 and sum(store.nbytes for store in self.stores.values()) > STORE_BYTES:
            self.stores.popitem(last=False)
        return self.stores[key]
