# Addresses are those of C-contiguous arrays that the caller keeps alive; 0 means absent. Dtypes: csrc/bindings.cpp.
def isa() -> str: ...
def isa_supported(name: str) -> bool: ...
def cuda_built() -> bool: ...
def cuda_architectures() -> str: ...  # as CMake names them, "" without CUDA
def cuda_version() -> str: ...  # of the compiler, "" without CUDA

# Where cuda_built(): besides the functions NAME_DTYPE of messages and pooling and sort_edges, NAME_cuda_DTYPE(arguments...,
# workspace, stream), without a number of threads, and NAME_cuda_workspace_DTYPE(arguments...) -> bytes.

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
        first_crystal: int,
    ) -> None: ...
    @property
    def n_edges(self) -> int: ...
    def fill(self, source: int, target: int, shifts: int, distances: int, edge_weight: int, row_ptr: int, few: int) -> None: ...

class CudaNeighborSearch:  # only where cuda_built()
    def __init__(
        self,
        positions: int,
        cells: int,
        pbc: int,
        graph_ptr: int,
        n_crystals: int,
        n_atoms: int,
        largest_crystal: int,
        cutoff: float,
        max_neighbors: int,
        shell: bool,
        tolerance: float,
        pad_2018: bool,
        sort_by_distance: bool,
    ) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    def count(self, workspace: int, status: int, row_ptr: int, few: int, stream: int) -> None: ...
    def fill(
        self, source: int, target: int, shifts: int, distances: int, edge_weight: int, n_searched_again: int, stream: int
    ) -> None: ...

def sort_edges(
    source: int, target: int, n_edges: int, n_targets: int, sorted_source: int, row_ptr: int, order: int
) -> None: ...

class StoredGraphs:
    def __init__(
        self,
        graph_ptr: int,
        edge_ptr: int,
        n_crystals: int,
        n_atoms: int,
        n_edges: int,
        degree: int,
        source: int,
        atomic_numbers: int,
        distances: int,
        edge_weight: int,
        value_bytes: int,
    ) -> None: ...
    def collate(
        self,
        indices: int,
        n_indices: int,
        n_atoms: int,
        n_edges: int,
        source: int,
        target: int,
        row_ptr: int,
        graph_ptr: int,
        atomic_numbers: int,
        distances: int,
        edge_weight: int,
        n_threads: int,
    ) -> None: ...

class MessageEdgesFloat32:
    def __init__(
        self,
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
        order: int,
        edge_weight: int,
        weight: int,
        n_basis: int,
        edge_attr: int,
        distances: int,
        start: float,
        step: float,
        width: float,
        weight_row: int,
        weight_column: int,
        core_weight: int,
    ) -> None: ...

class EdgeGradientsFloat32:
    def __init__(
        self,
        p: int,
        q: int,
        weight: int,
        edge_attr: int,
        distances: int,
        edge_weight: int,
        weight_row: int,
        weight_column: int,
        core_weight: int,
    ) -> None: ...

class SplitLinearFloat32:
    def __init__(
        self,
        target: int,
        target_stride: int,
        n_targets: int,
        target_width: int,
        source: int,
        source_stride: int,
        n_sources: int,
        source_width: int,
        weight: int,
        second_weight: int,
        n_first: int,
        n_out: int,
        weight_stride: int,
        bias: int,
        second_bias: int,
    ) -> None: ...

def gated_message_float32(
    edges: MessageEdgesFloat32, center: int, scale: int, shift: int, start: int, out: int, n_threads: int
) -> None: ...
def gated_message_backward_float32(
    edges: MessageEdgesFloat32,
    center: int,
    scale: int,
    shift: int,
    grad: int,
    gradients: EdgeGradientsFloat32,
    scale_gradient: int,
    shift_gradient: int,
    n_threads: int,
) -> None: ...
def edge_moments_float32(edges: MessageEdgesFloat32, mean: int, variance: int, n_threads: int) -> None: ...
def edge_moments_backward_float32(
    edges: MessageEdgesFloat32,
    mean: int,
    variance: int,
    mean_grad: int,
    variance_grad: int,
    gradients: EdgeGradientsFloat32,
    n_threads: int,
) -> None: ...
def split_linear_float32(layer: SplitLinearFloat32, p: int, q: int, n_threads: int) -> None: ...
def split_linear_backward_float32(
    layer: SplitLinearFloat32,
    p_grad: int,
    q_grad: int,
    target: int,
    source: int,
    weight: int,
    second_weight: int,
    bias: int,
    second_bias: int,
    start: int,
    n_threads: int,
) -> None: ...
def pool_float32(
    x: int, stride: int, n_rows: int, n_features: int, graph_ptr: int, n_graphs: int, reduction: str, out: int, n_threads: int
) -> None: ...

class MessageEdgesFloat64:
    def __init__(
        self,
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
        order: int,
        edge_weight: int,
        weight: int,
        n_basis: int,
        edge_attr: int,
        distances: int,
        start: float,
        step: float,
        width: float,
        weight_row: int,
        weight_column: int,
        core_weight: int,
    ) -> None: ...

class EdgeGradientsFloat64:
    def __init__(
        self,
        p: int,
        q: int,
        weight: int,
        edge_attr: int,
        distances: int,
        edge_weight: int,
        weight_row: int,
        weight_column: int,
        core_weight: int,
    ) -> None: ...

class SplitLinearFloat64:
    def __init__(
        self,
        target: int,
        target_stride: int,
        n_targets: int,
        target_width: int,
        source: int,
        source_stride: int,
        n_sources: int,
        source_width: int,
        weight: int,
        second_weight: int,
        n_first: int,
        n_out: int,
        weight_stride: int,
        bias: int,
        second_bias: int,
    ) -> None: ...

def gated_message_float64(
    edges: MessageEdgesFloat64, center: int, scale: int, shift: int, start: int, out: int, n_threads: int
) -> None: ...
def gated_message_backward_float64(
    edges: MessageEdgesFloat64,
    center: int,
    scale: int,
    shift: int,
    grad: int,
    gradients: EdgeGradientsFloat64,
    scale_gradient: int,
    shift_gradient: int,
    n_threads: int,
) -> None: ...
def edge_moments_float64(edges: MessageEdgesFloat64, mean: int, variance: int, n_threads: int) -> None: ...
def edge_moments_backward_float64(
    edges: MessageEdgesFloat64,
    mean: int,
    variance: int,
    mean_grad: int,
    variance_grad: int,
    gradients: EdgeGradientsFloat64,
    n_threads: int,
) -> None: ...
def split_linear_float64(layer: SplitLinearFloat64, p: int, q: int, n_threads: int) -> None: ...
def split_linear_backward_float64(
    layer: SplitLinearFloat64,
    p_grad: int,
    q_grad: int,
    target: int,
    source: int,
    weight: int,
    second_weight: int,
    bias: int,
    second_bias: int,
    start: int,
    n_threads: int,
) -> None: ...
def pool_float64(
    x: int, stride: int, n_rows: int, n_features: int, graph_ptr: int, n_graphs: int, reduction: str, out: int, n_threads: int
) -> None: ...
