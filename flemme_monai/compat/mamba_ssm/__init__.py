"""``mamba_ssm``, ``causal_conv1d`` and the kernels of Mamba networks, without a GPU; see docs/mamba_anywhere.md.

    from flemme_monai.compat import mamba_ssm
    mamba_ssm.install()  # before the first import of a network that needs them

or, for a program that stays as it is, ``python -m flemme_monai.compat.mamba_ssm PROGRAM ARGUMENTS``.
"""

from .finder import install, uninstall

__all__ = ["install", "uninstall"]
