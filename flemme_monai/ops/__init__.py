"""Numerics without learnable state: the selective scans of Mamba and Mamba-2."""

from .image_scan import image_scan, image_scan_chosen
from .reference import SelectiveScanInputs, SSDInputs
from .selective_scan import grouped_selective_scan, prepare_scans, selective_scan
from .ssd_scan import grouped_ssd_scan, ssd_scan

__all__ = [
    "SSDInputs",
    "SelectiveScanInputs",
    "grouped_selective_scan",
    "grouped_ssd_scan",
    "image_scan",
    "image_scan_chosen",
    "prepare_scans",
    "selective_scan",
    "ssd_scan",
]
