"""Architectures: what a backbone is for."""

from .ae import AE
from .aligned import Aligned, SpatialTransformer
from .clm import ClM
from .ddpm import DDPM, LDM, SDM
from .denoiser import Denoiser
from .edm import EDM
from .hae import HAE
from .hsem import HSeM
from .pyramid import Pyramid
from .sem import SeM
from .vae import VAE

__all__ = [
    "AE",
    "DDPM",
    "EDM",
    "HAE",
    "LDM",
    "SDM",
    "VAE",
    "Aligned",
    "ClM",
    "Denoiser",
    "HSeM",
    "Pyramid",
    "SeM",
    "SpatialTransformer",
]
