"""Small helpers that bundles, handlers and tools share."""

from .bundle import find_bundle_root
from .device import select_device
from .errors import plain_errors
from .files import replacing, writable_dir
from .weights import bare, load_weights

__all__ = ["bare", "find_bundle_root", "load_weights", "plain_errors", "replacing", "select_device", "writable_dir"]
