"""Ignite handlers that MONAI lacks: resumable runs, history, reports, predictions in the input's own kind of file."""

from .case_report import CaseReport
from .checkpoint_loader import CheckpointLoader
from .clip_gradients import ClipGradients
from .early_stop import EarlyStop
from .epoch_seed import EpochSeed
from .history import History
from .progress import Progress
from .report import Report
from .run_state import RunState
from .save_predictions import SavePredictions
from .tensorboard import TensorBoard

__all__ = [
    "CaseReport",
    "CheckpointLoader",
    "ClipGradients",
    "EarlyStop",
    "EpochSeed",
    "History",
    "Progress",
    "Report",
    "RunState",
    "SavePredictions",
    "TensorBoard",
]
