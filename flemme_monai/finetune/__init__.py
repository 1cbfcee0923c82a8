"""Training that begins with weights of another: which file, what of it fits, and what stays as it is."""

from ..utils.weights import read_weights
from .freeze import freeze_parameters
from .initial import initial_network
from .load import load_what_fits
from .source import KEPT, find_weights, keep_weights

__all__ = [
    "KEPT",
    "find_weights",
    "freeze_parameters",
    "initial_network",
    "keep_weights",
    "load_what_fits",
    "read_weights",
]
