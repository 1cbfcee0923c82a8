"""Architectures: what a backbone is for."""

from .ae import AE
from .hae import HAE
from .hsem import HSeM
from .pyramid import Pyramid
from .sem import SeM

__all__ = ["AE", "HAE", "HSeM", "Pyramid", "SeM"]
