"""Export bundles' networks to ONNX, and compare each graph's numbers with the network's at two sizes and batches.

    python tools/export_onnx.py sem_unet --output models_onnx

`flemme-monai export`, for a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("export")
