"""Kill trainings with SIGKILL at random moments, take them up again, and compare them with uninterrupted ones.

python tools/kill_training.py --kills 50
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: its threads do not survive a fork

from flemme_monai.cli import run_program

if __name__ == "__main__":
    run_program("kill_training")
