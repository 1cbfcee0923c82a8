"""A web page on which trained bundles are tried; only :mod:`flemme_monai.demo.page` needs gradio."""
