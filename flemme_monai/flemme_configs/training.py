"""A config's optimizer, schedule, length and what it writes."""

from __future__ import annotations

from typing import Any

import torch

from ..named_schedules import schedule_names
from .entries import Entries

NO_CLIPPING = 1e9  # a norm that no gradient has
METRICS = {  # those that a bundle measures, by task
    "seg": {"Dice", "mIoU", "HD", "ASD"},
    "recon": {"SSIM", "PSNR", "MAE"},
    "cls": {"ACC", "TopKACC"},
    "cluster": {"RI", "ARI", "MIS", "NMIS", "AMIS", "CACC"},
}
ASKED_FOR = {"SoftDice": "soft_dice", "SegARI": "adjusted_rand"}  # settings of evaluate.json
SCORES = {"segmentation": "Dice", "reconstruction": "PSNR", "classification": "ACC"}


def read_training(top: Entries, task: str) -> None:
    """Take what is not model and data.

    Args:
        top: the whole config.
        task: of the architecture.
    """
    found = top.conversion.settings
    mode = top.take("mode", "train")
    if mode != "train":
        raise ValueError(f"mode is {mode!r}; expected a config of training, whose bundle evaluates and predicts too")
    seed = top.take("rand_seed")
    if seed is not None:
        found["seed"] = seed
    found["epochs"] = top.take("max_epoch", 1000, ("max_epochs",))
    found["warmup_epochs"] = top.take("warmup_epochs", 0, ("warmup_epoch",))
    interval = top.take("save_after_epochs", 1)
    if interval != 1:
        found["val_interval"] = interval
    found["max_gradient_norm"] = top.take("clip_grad") or NO_CLIPPING
    if top.take("warmup_start_scale"):
        top.note("warmup_start_scale", "the warm-up begins near 0 here")
    _optimizer(top)
    _schedule(top)
    _metrics(top, task)
    if top.take("check_point_dir"):
        top.note("check_point_dir", "weights lie in the bundle's models/ (--ckpt_dir)")
    for key in ("resume", "pretrained"):
        if top.take(key):
            top.note(key, "weights of the original are not read here")
    sampler = top.section("sampler")
    if sampler is not None:
        _sampler(sampler, found)
    top.skip("determinstic", "write_after_iters", "write_sample_num", "eval_batch_num", "pickle_results", "pickle_path")
    top.skip("custom_write_results", "ignore_mismatched_keys", "pretrained_components")


def _optimizer(top: Entries) -> None:
    optimizer = top.section("optimizer")
    if optimizer is None:
        return
    found = top.conversion.settings
    name = str(optimizer.take("name", "Adam"))
    if isinstance(getattr(torch.optim, name, None), type):
        found["optimizer#_target_"] = f"torch.optim.{name}"
    else:
        optimizer.lack("name", f"is {name!r}, which torch.optim does not have")
    found["learning_rate"] = optimizer.take("lr", 0.001)
    found["weight_decay"] = optimizer.take("weight_decay", 0.0)
    for key in ("betas", "momentum", "eps", "nesterov", "amsgrad"):
        value = optimizer.take(key)
        if value is not None:
            found[f"optimizer#{key}"] = value
    optimizer.close()


def _schedule(top: Entries) -> None:
    """The learning rate's decay, by its name in PyTorch."""
    schedule = top.section("lr_scheduler")
    found = top.conversion.settings
    if schedule is None:  # a constant rate
        found |= {"decay": "ConstantLR", "decay_options": {"factor": 1.0}}
        return
    name = str(schedule.take("name", ""))
    if name not in schedule_names():
        schedule.lack("name", f"is {name!r}; expected one of {', '.join(schedule_names())}")
    options = {key: schedule.take(key) for key in schedule.names()}
    for length in ("total_iters", "total_steps", "T_max", "max_lr"):  # those of the run
        options.pop(length, None)
    if name == "LinearLR":  # its defaults, which the original keeps
        options = {"start_factor": 1 / 3, "end_factor": 1.0, **options}
    found |= {"decay": name, "decay_options": {key: value for key, value in options.items() if value is not None}}
    schedule.close()


def _metrics(top: Entries, task: str) -> None:
    metrics = top.section("evaluation_metrics")
    if metrics is not None:
        for group, known in METRICS.items():
            for metric in metrics.sections(group):
                name = metric.take("name")
                if name in ASKED_FOR and group == "seg":
                    top.conversion.of_workflows.setdefault("evaluate", {})[ASKED_FOR[name]] = True
                elif name not in known:
                    metric.note("name", f"{name} is not measured; others are")
                elif name == "TopKACC":
                    top.conversion.of_workflows.setdefault("evaluate", {})["top_k"] = metric.take("k", 5)
                metric.skip("data_range", "channel_dim", "dim", "method", "boundary", "k")
                metric.close()
        metrics.close()
    score = top.section("score_metric")
    if score is None:
        return
    name = score.take("name")
    score.skip("higher_is_better")
    if name != SCORES.get(task):
        kept = SCORES.get(task, "the denoiser's error")
        score.note("name", f"is {name}; the best weights are those of the best {kept} here")
    score.close()


def _sampler(sampler: Entries, found: dict[str, Any]) -> None:
    steps = sampler.take("num_sample_steps", None, ("sample_steps",))
    if steps and steps > 0:
        found.setdefault("num_inference_steps", steps)
    if sampler.take("rand_seed") is not None:
        sampler.note("rand_seed", "samples are drawn by the seed of their run (--seed)")
    sampler.skip("name", "clipped", "clip_range", "num_samples")
    sampler.close()
