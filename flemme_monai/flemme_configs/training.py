"""A config's optimizer, schedule, length and what it writes."""

from __future__ import annotations

from typing import Any

import torch

from .entries import Entries

METRICS = {  # those that a bundle measures, by task
    "seg": {"Dice", "mIoU", "HD", "ACC", "SegACC"},
    "recon": {"SSIM", "PSNR", "MSE", "MAE"},
    "cls": {"ACC"},
}
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
    clip = top.take("clip_grad")
    if clip:
        found["max_gradient_norm"] = clip
    else:
        top.note("clip_grad", "is not set; gradients are scaled down to a norm of 1 here (max_gradient_norm)")
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
    schedule = top.section("lr_scheduler")
    found = top.conversion.settings
    name = "LinearLR" if schedule is None else str(schedule.take("name", ""))
    names = {"LinearLR": "linear", "CosineAnnealingLR": "cosine"}
    if schedule is None:
        top.lack("lr_scheduler", "is not set, a constant rate; expected a schedule")
        return
    if name not in names:
        schedule.lack("name", f"is {name!r}; expected one of {', '.join(names)}")
    else:
        found["decay"] = names[name]
        found["lr_scheduler#floor"] = schedule.take("end_factor", 0.01)
    if schedule.take("start_factor", 1.0) != 1.0:
        schedule.lack("start_factor", "the decay begins at the learning rate here")
    schedule.skip("total_iters", "T_max", "eta_min")
    schedule.close()


def _metrics(top: Entries, task: str) -> None:
    metrics = top.section("evaluation_metrics")
    if metrics is not None:
        for group, known in METRICS.items():
            for metric in metrics.sections(group):
                name = metric.take("name")
                if name not in known:
                    metric.lack("name", f"is {name!r}; expected one of {', '.join(sorted(known))}")
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
