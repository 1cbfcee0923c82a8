"""Small helpers that bundles, handlers and tools share."""

from .bundle import find_bundle_root
from .device import select_device, use_amp
from .errors import first_cause, plain_errors
from .files import replacing, writable_dir
from .progress import terminal_bar
from .settings import as_bool, check_settings
from .weights import bare, load_weights

__all__ = [
    "as_bool",
    "bare",
    "check_settings",
    "find_bundle_root",
    "first_cause",
    "load_weights",
    "plain_errors",
    "replacing",
    "select_device",
    "terminal_bar",
    "use_amp",
    "writable_dir",
]
