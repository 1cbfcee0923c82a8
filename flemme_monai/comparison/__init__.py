"""Comparisons of bundles: what is trained on what and how often, where it runs, and what the results say."""
