"""Ignite handlers that MONAI, Ignite and scikit-learn lack: resumable runs, history, reports, predictions in the
input's own kind of file, generated samples. Each says which class of theirs it extends or replaces, and why."""

from .case_report import CaseReport
from .classification import ClassReport, SaveClasses
from .generation import LatentPicture, SaveSamples, SaveWay
from .generation_report import GenerationReport
from .history import History, Progress, Report
from .model_selection import CheckForeground, EarlyStop
from .optimization import ClipGradients, EpochSeed, KLWarmup, LatentScale, LearningRate, UpdateEMA
from .save_predictions import SavePredictions
from .tensorboard import TensorBoard
from .training_checkpoint import CheckpointLoader, RunState
from .training_output import ValidationLoss, pred_and_label

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
