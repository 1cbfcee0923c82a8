"""flemme_monai: any encoder in any architecture, as MONAI bundles, in 2D and 3D."""

__version__ = "0.1.0"
