"""Architectures: what a backbone is for."""

from .ae import AE
from .aligned import Aligned, SpatialTransformer
from .clm import ClM
from .ddpm import DDPM, SDM, DSeM
from .denoiser import Denoiser
from .edm import EDM
from .hae import HAE
from .hsem import HSeM
from .ldm import LDM
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
    "DSeM",
    "Denoiser",
    "HSeM",
    "Pyramid",
    "SeM",
    "SpatialTransformer",
]
