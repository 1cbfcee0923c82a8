"""Ignite handlers that MONAI lacks: resumable runs, history, reports, predictions in the input's own kind of file,
generated samples."""

from .case_report import CaseReport
from .check_foreground import CheckForeground
from .checkpoint_loader import CheckpointLoader
from .class_report import ClassReport
from .clip_gradients import ClipGradients
from .early_stop import EarlyStop
from .epoch_seed import EpochSeed
from .generation_report import GenerationReport
from .history import History
from .kl_warmup import KLWarmup
from .latent_picture import LatentPicture
from .latent_scale import LatentScale
from .learning_rate import LearningRate
from .progress import Progress
from .report import Report
from .run_state import RunState
from .save_classes import SaveClasses
from .save_predictions import SavePredictions
from .save_samples import SaveSamples
from .save_way import SaveWay
from .tensorboard import TensorBoard
from .training_output import pred_and_label
from .update_ema import UpdateEMA
from .validation_loss import ValidationLoss

__all__ = [
    "CaseReport",
    "CheckForeground",
    "CheckpointLoader",
    "ClassReport",
    "ClipGradients",
    "EarlyStop",
    "EpochSeed",
    "GenerationReport",
    "History",
    "KLWarmup",
    "LatentPicture",
    "LatentScale",
    "LearningRate",
    "Progress",
    "Report",
    "RunState",
    "SaveClasses",
    "SavePredictions",
    "SaveSamples",
    "SaveWay",
    "TensorBoard",
    "UpdateEMA",
    "ValidationLoss",
    "pred_and_label",
]
