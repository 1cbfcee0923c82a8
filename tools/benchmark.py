"""Measure what the collection costs: its networks beside MONAI's, diffusion, scans, waiting for data, and importing.

    python tools/benchmark.py networks --output networks.md

`flemme-monai benchmark`, for a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("benchmark")
