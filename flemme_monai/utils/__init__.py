"""Small helpers that bundles, handlers and tools share."""

from .bundle import find_bundle_root
from .device import select_device, use_amp
from .errors import first_cause, install_one_line_errors, one_line_errors
from .files import atomic_write, naming, path_in, paths_in, text_file, user_path, writable_dir
from .folder_lock import hold_folder, refuse_used_folders, release_folders
from .progress import terminal_bar
from .record import check_trained, trained_network, trained_settings
from .settings import as_bool, check_settings, former_arguments, renamed_setting
from .weights import load_weights, unwrap_model

# its name in bundles of version 0.4.0
plain_errors = install_one_line_errors

__all__ = [
    "as_bool",
    "atomic_write",
    "check_settings",
    "check_trained",
    "find_bundle_root",
    "first_cause",
    "former_arguments",
    "hold_folder",
    "install_one_line_errors",
    "load_weights",
    "naming",
    "one_line_errors",
    "path_in",
    "paths_in",
    "refuse_used_folders",
    "release_folders",
    "renamed_setting",
    "select_device",
    "terminal_bar",
    "text_file",
    "trained_network",
    "trained_settings",
    "unwrap_model",
    "use_amp",
    "user_path",
    "writable_dir",
]
