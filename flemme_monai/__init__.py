"""flemme_monai: any encoder in any architecture, as MONAI bundles, in 2D and 3D."""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.6.0"

_ROOMS = (
    "architectures",
    "backbones",
    "blocks",
    "compat",
    "data",
    "diffusion",
    "federated",
    "finetune",
    "flemme_configs",
    "handlers",
    "inferers",
    "losses",
    "metrics",
    "optim",
    "recipes",
    "registry",
    "ssl",
    "statistics",
    "transforms",
    "utils",
)


_ALIASES = {"optimizers": "optim"}  # names in bundles of version 0.4.0


def __getattr__(name: str) -> ModuleType:
    """Import a room when it is first entered, so that ``import flemme_monai`` alone costs nothing."""
    name = _ALIASES.get(name, name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
