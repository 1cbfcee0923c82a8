"""Write the bundles, from the recipes and the registry.

    python tools/make_bundles.py                      # write every pair into bundles/
    python tools/make_bundles.py --check              # fail when bundles/ is not what this tool writes
    python tools/make_bundles.py --pair hsem_swinu --output my_bundles --name liver --num_classes 3 --spatial_dims 3 \
        --image_size "[96,96,96]" --network_def#backbone#channels "[32,64,128]"

The installed command makes one: `flemme-monai make hsem_swinu liver --num_classes 3`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flemme_monai.cli import run  # noqa: E402
from flemme_monai.commands.make import main  # noqa: E402

if __name__ == "__main__":
    run(main)
