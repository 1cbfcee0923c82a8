"""Which modules are provided, when, and how Python's imports find them."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

logger = logging.getLogger(__name__)

VERSION = "2.2.4+flemme.monai"  # the release of mamba_ssm whose arguments are followed
SCANS = "selective_scan_fn selective_scan_ref"
INNER = "mamba_inner_fn mamba_inner_ref mamba_inner_fn_no_out_proj bimamba_inner_fn"
NORMS = "RMSNorm layer_norm_fn rms_norm_fn"

# by the name of a provided module, what it holds: names by the file beside this one that defines them
MODULES: dict[str, dict[str, str]] = {
    "mamba_ssm": {"mamba": "Mamba", "mamba2": "Mamba2", "scans": "selective_scan_fn", "inner": "mamba_inner_fn"},
    "mamba_ssm.modules": {},
    "mamba_ssm.modules.mamba_simple": {
        "mamba": "Mamba",
        "block": "SimpleBlock",
        "scans": SCANS,
        "inner": INNER,
        "norms": NORMS,
    },
    "mamba_ssm.modules.mamba2": {"mamba2": "Mamba2"},
    "mamba_ssm.modules.block": {"block": "Block"},
    "mamba_ssm.ops": {},
    "mamba_ssm.ops.selective_scan_interface": {"scans": SCANS, "inner": INNER},
    "mamba_ssm.ops.triton": {},
    "mamba_ssm.ops.triton.selective_state_update": {"state_update": "selective_state_update"},
    "mamba_ssm.ops.triton.ssd_combined": {"ssd": "mamba_chunk_scan_combined mamba_split_conv1d_scan_combined"},
    "mamba_ssm.ops.triton.layernorm": {"norms": NORMS},
    "mamba_ssm.ops.triton.layer_norm": {"norms": NORMS},
    "mamba_ssm.ops.triton.layernorm_gated": {"gated_norms": "RMSNorm LayerNorm rmsnorm_fn layernorm_fn"},
    "mamba_ssm.utils": {},
    "mamba_ssm.utils.generation": {"inference": "InferenceParams GenerationMixin"},
    "mamba_ssm.utils.hf": {"inference": "load_config_hf load_state_dict_hf"},
    "causal_conv1d": {"convolution": "causal_conv1d_fn causal_conv1d_update"},
    "causal_conv1d.causal_conv1d_interface": {"convolution": "causal_conv1d_fn causal_conv1d_update"},
    "causal_conv1d_cuda": {"convolution_kernels": "causal_conv1d_fwd causal_conv1d_bwd causal_conv1d_update"},
    "selective_scan_cuda": {"mamba_kernels": "fwd bwd"},
    "selective_scan_cuda_core": {"vmamba_kernels": "fwd bwd"},
    "selective_scan_cuda_oflex": {"vmamba_kernels": "fwd bwd"},
    "selective_scan_cuda_nrow": {"vmamba_kernels": "fwd bwd"},
}
PACKAGES = tuple(name for name in MODULES if "." not in name)
OTHER_NAMES = {"SimpleBlock": "Block"}  # what a class is called where it is provided


class _Loader(Loader):
    """Fills a provided module with what it holds."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Python makes the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put its names into it; a package imports its submodules, as ``mamba_ssm`` does."""
        name = module.__name__
        for file, names in MODULES[name].items():
            source = importlib.import_module(f"{__package__}.{file}")
            for attribute in names.split():
                setattr(module, OTHER_NAMES.get(attribute, attribute), getattr(source, attribute))
        if name in PACKAGES:
            module.__dict__["__version__"] = VERSION
            for other in MODULES:
                if other.startswith(f"{name}."):
                    importlib.import_module(other)


class _Finder(MetaPathFinder):
    """Finds the provided modules.

    Args:
        packages: those whose modules are provided.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)
        self.displaced: dict[str, ModuleType] = {}  # modules of real packages that do not work

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a provided module, else None."""
        if fullname not in MODULES or fullname.partition(".")[0] not in self.packages:
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in MODULES)
        return importlib.util.spec_from_loader(fullname, _Loader(), origin=__package__, is_package=is_package)


def _call_scan(device: str) -> None:
    """A scan of two steps by ``mamba_ssm``."""
    import torch

    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    u, B = torch.ones(1, 2, 8, device=device), torch.ones(1, 2, 8, device=device)
    interface.selective_scan_fn(u, u, -torch.ones(2, 2, device=device), B, B)


def _call_convolution(device: str) -> None:
    """A convolution by ``causal_conv1d``."""
    import torch

    package = importlib.import_module("causal_conv1d")
    package.causal_conv1d_fn(torch.ones(1, 8, 8, device=device), torch.ones(8, 4, device=device))


def _import_only(name: str) -> Callable[[str], None]:
    """Kernels for CUDA work where they can be loaded and there is a GPU."""

    def call(device: str) -> None:
        importlib.import_module(name)
        if device != "cuda":
            raise RuntimeError("there is no GPU")

    return call


def _works(package: str) -> bool:
    """Whether a package is installed and computes on this machine."""
    import torch

    if importlib.util.find_spec(package) is None:
        return False
    calls = {"mamba_ssm": _call_scan, "causal_conv1d": _call_convolution}
    try:
        calls.get(package, _import_only(package))("cuda" if torch.cuda.is_available() else "cpu")
    except Exception as error:  # a build for another torch, or for a GPU that is not there, fails in many ways
        logger.info("%s is installed and does not work here (%s: %s)", package, type(error).__name__, error)
        return False
    return True


def _installed() -> _Finder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)


def install() -> tuple[str, ...]:
    """Let imports of ``mamba_ssm`` and what belongs to it find this package, where the real ones do not work.

    A real package works if it is installed and computes on this machine: on the GPU if there is one, else on the CPU.
    Where ``mamba_ssm`` works, nothing is done. To be called before the networks are imported.

    Returns:
        The names of the packages that are now provided.
    """
    finder = _installed()
    if finder is not None:
        return finder.packages
    if _works("mamba_ssm"):
        logger.info("mamba_ssm works; nothing stands in for it")
        return ()
    finder = _Finder([package for package in PACKAGES if package == "mamba_ssm" or not _works(package)])
    for name in list(sys.modules):
        if name.partition(".")[0] in finder.packages:
            finder.displaced[name] = sys.modules.pop(name)
    sys.meta_path.insert(0, finder)
    logger.info("provided by flemme_monai: %s", ", ".join(finder.packages))
    return finder.packages


def uninstall() -> None:
    """Undo :func:`install`; what has been imported meanwhile stays as it is."""
    finder = _installed()
    if finder is None:
        return
    sys.meta_path.remove(finder)
    for name in list(sys.modules):
        if name.partition(".")[0] in finder.packages:
            del sys.modules[name]
    sys.modules.update(finder.displaced)
