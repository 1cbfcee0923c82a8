"""Trunks of published classifiers, which networks of segmentation begin with."""
