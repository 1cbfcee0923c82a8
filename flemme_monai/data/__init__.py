"""Lists of cases from what people have on disk, phantoms, and the data set that feeds training."""

from __future__ import annotations

from .autoencoding import AutoencodingPrepareBatch
from .class_masks import class_names
from .condition_table import column_names, vector_statistics
from .context import ContextPrepareBatch
from .datalist import inference_list, split_datalist
from .datalist import split_datalist as datalist  # its name in bundles of version 0.3.0
from .dataset import CaseDataset
from .loader import CaseLoader
from .phantoms import class_phantoms, phantoms
from .predictions import with_predictions
from .sampler import own_cases, own_sampler, rank_sampler

__all__ = [
    "AutoencodingPrepareBatch",
    "CaseDataset",
    "CaseLoader",
    "ContextPrepareBatch",
    "class_names",
    "class_phantoms",
    "column_names",
    "datalist",
    "inference_list",
    "own_cases",
    "own_sampler",
    "phantoms",
    "rank_sampler",
    "split_datalist",
    "vector_statistics",
    "with_predictions",
]
