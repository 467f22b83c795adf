# Addresses are those of C-contiguous arrays that the caller keeps alive; 0 means absent. Dtypes: csrc/bindings.cpp.
def isa() -> str: ...
def isa_supported(name: str) -> bool: ...
def cuda_built() -> bool: ...

class NeighborSearch:
    def __init__(
        self,
        positions: int,
        cells: int,
        pbc: int,
        graph_ptr: int,
        n_crystals: int,
        cutoff: float,
        max_neighbors: int,
        shell: bool,
        tolerance: float,
        pad_2018: bool,
        sort_by_distance: bool,
        n_threads: int,
    ) -> None: ...
    @property
    def n_edges(self) -> int: ...
    def fill(self, source: int, target: int, shifts: int, distances: int, edge_weight: int, row_ptr: int, few: int) -> None: ...

def gated_message_float32(
    p: int,
    p_stride: int,
    q: int,
    q_stride: int,
    n_rows: int,
    n_sources: int,
    n_features: int,
    n_edges: int,
    row_ptr: int,
    source: int,
    edge_weight: int,
    weight: int,
    n_basis: int,
    edge_attr: int,
    distances: int,
    start: float,
    step: float,
    width: float,
    out: int,
    n_threads: int,
) -> None: ...
def gated_message_float64(
    p: int,
    p_stride: int,
    q: int,
    q_stride: int,
    n_rows: int,
    n_sources: int,
    n_features: int,
    n_edges: int,
    row_ptr: int,
    source: int,
    edge_weight: int,
    weight: int,
    n_basis: int,
    edge_attr: int,
    distances: int,
    start: float,
    step: float,
    width: float,
    out: int,
    n_threads: int,
) -> None: ...
