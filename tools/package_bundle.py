"""Pack bundles as the MONAI model zoo hosts them: NAME_v<version>.zip with NAME/ on top, and its sha256 beside it.

    python tools/package_bundle.py sem_unet --output_dir dist

`flemme-monai package`, for a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("package")
