"""Lists of cases from what people have on disk, phantoms, and the data set that feeds training."""

from __future__ import annotations

from flemme_monai.data.autoencoding import AutoencodingPrepareBatch
from flemme_monai.data.context import ContextPrepareBatch
from flemme_monai.data.datalist import inference_list, split_datalist
from flemme_monai.data.datalist import split_datalist as datalist  # its name in bundles of version 0.3.0
from flemme_monai.data.dataset import CaseDataset
from flemme_monai.data.loader import CaseLoader
from flemme_monai.data.phantoms import class_phantoms, phantoms
from flemme_monai.data.sampler import rank_sampler

__all__ = [
    "AutoencodingPrepareBatch",
    "CaseDataset",
    "CaseLoader",
    "ContextPrepareBatch",
    "class_phantoms",
    "datalist",
    "inference_list",
    "phantoms",
    "rank_sampler",
    "split_datalist",
]
