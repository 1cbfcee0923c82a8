"""Check bundles as the MONAI model zoo does, and what this collection adds, offline; say for each what fails.

    python tools/check_bundle.py sem_unet hae_swin
    python tools/check_bundle.py --all
    python tools/check_bundle.py sem_unet --onnx

`flemme-monai check`, for a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("check")
