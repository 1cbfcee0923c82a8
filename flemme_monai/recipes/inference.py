"""Common parts of all evaluations and inferences, and training in several processes."""

from __future__ import annotations

from typing import Any

from .base import AMP, BEST_WEIGHTS, DEVICE, Config, Workflow, component
from .handlers import load_weights
from .training import FOLDERS, folders, imports, ordered_loader, window_inferer

TRAINED = f"$flemme_monai.utils.trained_settings({BEST_WEIGHTS})"
TRAINED_NETWORK = f"$flemme_monai.utils.trained_network(@network_def, {BEST_WEIGHTS}, @bundle_root).to({DEVICE[1:]})"
LATENTS = {"tsne_dims": 2, "save_latents": False}  # of an evaluation with a picture of latents


def evaluation_settings() -> Config:
    """The settings that evaluation lays over training's."""
    return {"output_dir": folders("", "evaluate")["output_dir"], "trained": TRAINED}


def evaluation_components(handlers: list[Config], data: bool = True) -> Config:
    """The components that evaluation lays over training's.

    Args:
        handlers: the evaluator's handlers.
        data: whether the test cases are what it runs over.
    """
    return {
        "network": TRAINED_NETWORK,
        "datalist#record": "$flemme_monai.utils.paths_in(@ckpt_dir, 'split.json')",
        "datalist#resume": False,
        "datalist#pretrained_weights": None,
        **({"validate#dataset#data": "$@datalist['test']", "validate#dataset#once": True} if data else {}),
        "validate#handlers": handlers,
    }


def trained_steps(run: str) -> Config:
    """The steps of a workflow with trained weights; ``run`` is the last."""
    return {
        "initialize": [
            "$flemme_monai.utils.install_one_line_errors()",
            "$flemme_monai.utils.check_settings()",
            f"$flemme_monai.utils.check_trained({BEST_WEIGHTS}, @network_settings)",
            "$monai.utils.set_determinism(seed=@seed)",
        ],
        "run": [run],
    }


def evaluation_steps() -> Config:
    """The steps of an evaluation."""
    return trained_steps("$@validate#evaluator.run()")


def inference_settings(name: str, outputs: Config, windows: bool = True) -> Config:
    """The settings of every inference on images.

    Args:
        name, outputs: as of :func:`.training.training_settings`.
        windows: whether windows slide over the images.
    """
    return {
        "imports": imports("monai", "flemme_monai"),
        **folders(name, "inference"),
        "trained": TRAINED,
        "dataset_dir": None,
        **FOLDERS,
        "spatial_dims": 2,
        "in_channels": 1,
        "neighbour_slices": 0,
        **outputs,
        "image_size": [64, 64],
        **({"overlap": 0.25} if windows else {}),
        "seed": 0,
        "amp": False,
        "device": "$flemme_monai.utils.select_device('auto')",
    }


def inference_list(task: str, out_channels: str, **more: str) -> Config:
    """The images of an inference; arguments as of :func:`.training.split_datalist`."""
    return component(
        "flemme_monai.data.inference_list",
        dataset_dir="@dataset_dir",
        task=task,
        spatial_dims="@spatial_dims",
        in_channels="@in_channels",
        out_channels=out_channels,
        image_size="@image_size",
        seed="@seed",
        neighbour_slices="@neighbour_slices",
        image_folders="@image_folders",
        label_folder="@label_folder",
        **more,
    )


def inference_components(
    datalist: Config,
    network_def: Config,
    preprocessing: Config,
    postprocessing: Config,
    handlers: list[Config | str],
    inferer: Config | None = None,
    slices: bool | str = False,
    cache: bool = False,
    batch_size: int = 1,
    **evaluator: Any,
) -> Config:
    """The components of an inference on images.

    Args:
        datalist: the images.
        network_def: the network.
        preprocessing: from a file to a sample.
        postprocessing: from a prediction to what is written.
        handlers: the evaluator's handlers.
        inferer: how the network is called; by windows by default.
        slices: whether volumes are cut into slices.
        cache: whether cases are kept in memory.
        batch_size: samples that are predicted at a time.
        evaluator: further arguments of the evaluator.
    """
    return {
        "datalist": datalist,
        "network_settings": {},
        "network_def": network_def,
        "network": TRAINED_NETWORK,
        "preprocessing": preprocessing,
        "dataset": component(
            "flemme_monai.data.CaseDataset", data="@datalist", transform="@preprocessing", slices=slices, cache=cache
        ),
        "dataloader": ordered_loader("@dataset", batch_size),
        "inferer": window_inferer("@overlap") if inferer is None else inferer,
        "postprocessing": postprocessing,
        "checkpointloader": load_weights(),
        "handlers": handlers,
        "evaluator": inference_evaluator(**evaluator),
    }


def inference_evaluator(**more: Any) -> Config:
    """The evaluator of an inference; ``more`` are further arguments of it."""
    return component(
        "monai.engines.SupervisedEvaluator",
        device=DEVICE,
        val_data_loader="@dataloader",
        network="@network",
        inferer="@inferer",
        postprocessing="@postprocessing",
        val_handlers="@handlers",
        amp=AMP,
        **more,
    )


def inference_steps() -> Config:
    """The steps of an inference."""
    return trained_steps("$@evaluator.run()")


def multi_gpu_training(**num_draws: str) -> Workflow:
    """The overlay of training in several processes; ``num_draws=`` cases of an epoch in each."""
    device = DEVICE[1:]
    return Workflow(
        settings={"device": "$flemme_monai.utils.select_device('auto')"},
        components={
            "network": component(
                "torch.nn.parallel.DistributedDataParallel",
                module=f"$@initial_network.to({device})",
                device_ids="$[next(@network_def.parameters()).device] "
                "if next(@network_def.parameters()).is_cuda else None",
            ),
            "train#dataset#data": "$flemme_monai.data.own_cases(@datalist['train'], 'train')",
            "train#sampler": component(
                "flemme_monai.data.own_sampler",
                dataset="@train#dataset",
                generator="@train#dataloader#generator",
                **num_draws,
            ),
            "train#dataloader#sampler": "@train#sampler",
            "train#dataloader#shuffle": False,
            "validate#dataset#data": "$flemme_monai.data.own_cases(@datalist['val'], 'val')",
        },
        steps={
            "initialize": [
                "$flemme_monai.utils.install_one_line_errors()",
                "$flemme_monai.utils.check_settings()",
                "$import torch.distributed as dist",
                f"$dist.is_initialized() or dist.init_process_group('nccl' if {device}.type == 'cuda' else 'gloo')",
                f"${device}.type == 'cuda' and torch.cuda.set_device({device})",
                "$monai.utils.set_determinism(seed=@seed)",
            ],
            "run": ["$flemme_monai.utils.refuse_used_folders(@ckpt_dir, @output_dir)", "$@train#trainer.run()"],
            "finalize": ["$dist.is_initialized() and dist.destroy_process_group()"],
        },
    )
