"""Ignite handlers that MONAI, Ignite and scikit-learn lack: resumable runs, history, reports, predictions in the
input's own kind of file, generated samples. Each says which class of theirs it extends or replaces, and why."""

from .case_metrics import SaveCaseMetrics
from .case_seconds import SaveSeconds
from .class_masks import SaveClassMasks
from .classification import ClassReport, SaveClasses
from .examples import SaveExamples
from .generation import SaveInterpolation, SaveLatentTSNE, SaveSamples
from .generation_report import GenerationReport
from .history import History, Progress, RunSummary
from .model_selection import CheckForeground, EarlyStop
from .optimization import ClipGradients, EpochSeed, KLWarmup, LatentScale, LearningRate, StopAfterSteps, UpdateEMA
from .sampled_examples import SaveExampleRestorations, SaveExampleSamples
from .save_outputs import SaveOutputs
from .save_predictions import SavePredictions
from .shown_cases import SaveShownCases
from .tensorboard import TensorBoard
from .training_checkpoint import CheckpointLoader, TrainingCheckpoint
from .training_output import LogitMetric, ValidationLoss, pred_and_label

# their names in bundles of version 0.4.0
CaseReport = SaveCaseMetrics
LatentPicture = SaveLatentTSNE
Report = RunSummary
RunState = TrainingCheckpoint
SaveWay = SaveInterpolation

__all__ = [
    "CheckForeground",
    "CheckpointLoader",
    "ClassReport",
    "ClipGradients",
    "EarlyStop",
    "EpochSeed",
    "GenerationReport",
    "History",
    "KLWarmup",
    "LatentScale",
    "LearningRate",
    "LogitMetric",
    "Progress",
    "RunSummary",
    "SaveCaseMetrics",
    "SaveClassMasks",
    "SaveClasses",
    "SaveExampleRestorations",
    "SaveExampleSamples",
    "SaveExamples",
    "SaveInterpolation",
    "SaveLatentTSNE",
    "SaveOutputs",
    "SavePredictions",
    "SaveSamples",
    "SaveSeconds",
    "SaveShownCases",
    "StopAfterSteps",
    "TensorBoard",
    "TrainingCheckpoint",
    "UpdateEMA",
    "ValidationLoss",
    "pred_and_label",
]
