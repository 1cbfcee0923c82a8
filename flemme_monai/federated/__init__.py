"""Federated learning of a bundle by NVFlare: its job, and what the job names at the server and the clients."""

from __future__ import annotations

from .job import allow_classes, write_job
from .network import network_of

__all__ = ["allow_classes", "network_of", "write_job"]
