"""Train bundles on the same data with the same budget, and put what they reach beside what they cost.

    python tools/compare_bundles.py --output comparison --epochs 20 --set dataset_dir=DIR num_classes=2

`flemme-monai compare`, for a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("compare")
