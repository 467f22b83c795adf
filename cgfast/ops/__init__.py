"""The native ops as torch operators: schema, implementation, fake, and the formula of their gradient.

cgfast.functional is the way to call them.
"""

from cgfast.ops.edge_moments import edge_moments
from cgfast.ops.gated_layer import GatedLayer, gated_layer, takes_layer
from cgfast.ops.gated_message import gated_message
from cgfast.ops.operators import cuda_kernels, transforms_active, wants_gradient
from cgfast.ops.pool import pool
from cgfast.ops.sort_edges import sort_edges
from cgfast.ops.split_linear import Split, split_linear

__all__ = [
    "GatedLayer",
    "Split",
    "cuda_kernels",
    "edge_moments",
    "gated_layer",
    "gated_message",
    "pool",
    "sort_edges",
    "split_linear",
    "takes_layer",
    "transforms_active",
    "wants_gradient",
]
