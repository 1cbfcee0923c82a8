"""SAS: self-supervised pretraining, augmentation and a spatial transformer together."""

from __future__ import annotations

from .base import Workflow


def sas() -> Workflow:
    """``sas.json``, over ``train.json``: all three together, after JMedSeg.

    Each is a setting of ``train.json`` that a command line still has the last word on. The encoder is what
    ``pretrain.json`` wrote. Colours are of images with three channels, photographs of a screen of 2D images.
    """
    colour, flat = "$0.3 if @in_channels == 3 else 0.0", "$0.5 if @spatial_dims == 2 else 0.0"
    return Workflow(
        settings={
            "stn": True,
            "pretrained": "$flemme_monai.utils.path_in(@ckpt_dir, 'pretrained.pt')",
            "augmentation#brightness": 0.3,
            "augmentation#contrast": 0.3,
            "augmentation#saturation": colour,
            "augmentation#hue": colour,
            "augmentation#blur": 0.2,
            "augmentation#screen_photo": flat,
        },
        components={},
    )
