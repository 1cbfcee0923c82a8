"""Numerics without learnable state: the selective scans of Mamba and Mamba-2."""

from .reference import SelectiveScanInputs, SSDInputs
from .selective_scan import prepare_scans, scan_rows, selective_scan
from .ssd_scan import ssd_rows, ssd_scan

__all__ = [
    "SSDInputs",
    "SelectiveScanInputs",
    "prepare_scans",
    "scan_rows",
    "selective_scan",
    "ssd_rows",
    "ssd_scan",
]
