"""The kernels of ``mamba_ssm``, where CUDA and the package are there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

import torch

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def cuda_kernels() -> ModuleType | None:
    """``mamba_ssm``'s interface with its compiled kernels, or None; what is missing is logged once."""
    if not torch.cuda.is_available():
        return None
    try:
        from mamba_ssm.ops import selective_scan_interface as interface
    except Exception as error:  # a build for another torch fails in many ways
        logger.info("mamba_ssm cannot be imported (%s: %s); scans run in PyTorch", type(error).__name__, error)
        return None
    if getattr(interface, "selective_scan_cuda", None) is None:
        logger.info("mamba_ssm is installed without its CUDA kernels; scans run in PyTorch")
        return None
    return interface


@torch.compiler.assume_constant_result
def cuda_works() -> bool:
    """Whether there are compiled kernels."""
    return cuda_kernels() is not None


@lru_cache(maxsize=1)
def ssd_kernel() -> Callable | None:
    """``mamba_ssm``'s chunked scan of Mamba-2, or None."""
    if cuda_kernels() is None:
        return None
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except Exception as error:  # Triton may be missing, or be another version's
        logger.info("mamba_ssm's Triton kernels cannot be imported (%s: %s)", type(error).__name__, error)
        return None
    return mamba_chunk_scan_combined


@torch.compiler.assume_constant_result
def cuda_works_for_ssd() -> bool:
    """Whether there is a kernel for Mamba-2."""
    return ssd_kernel() is not None
