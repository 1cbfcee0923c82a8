"""Common parts of all trainings: their settings, the optimizer, and the parts that train and validate."""

from __future__ import annotations

from typing import Any

from .base import AMP, DEVICE, Config, component, compose

FOLDERS = {"image_folders": None, "label_folder": None}  # how folders inside of a data set are called


def imports(*modules: str) -> list[str]:
    """The modules that expressions of a config may name."""
    return [f"$import {module}" for module in sorted(modules)]


def folders(name: str, output: str, ckpt: str = "models") -> Config:
    """Where a bundle is, its weights, and what a workflow writes.

    Args:
        name: the bundle's name.
        output: folder in ``output``.
        ckpt: folder of the weights.
    """
    return {
        "bundle_root": f"$flemme_monai.utils.find_bundle_root('{name}')",
        "ckpt_dir": f"$flemme_monai.utils.path_in(@bundle_root, '{ckpt}')",
        "output_dir": f"$flemme_monai.utils.path_in(@bundle_root, 'output/{output}')",
    }


def training_settings(name: str, outputs: Config) -> Config:
    """The settings of every training.

    Args:
        name: the bundle's name.
        outputs: ``num_classes`` or ``out_channels`` with its default.
    """
    return {
        "imports": imports("torch", "monai", "flemme_monai"),
        **folders(name, "train"),
        "dataset_dir": None,
        **FOLDERS,
        "split": None,
        "split_file": None,
        "split_by": "case",
        "shuffle_split": False,
        "fold": None,
        "num_folds": 5,
        "group_by": None,
        "spatial_dims": 2,
        "in_channels": 1,
        "neighbour_slices": 0,
        **outputs,
        "image_size": [64, 64],
        "batch_size": 8,
        "epochs": 40,
        "max_steps": None,
        "learning_rate": 0.001,
        "warmup_epochs": 1,
        "decay": "cosine",
        "decay_options": None,
        "weight_decay": 0.0001,
        "accumulation_steps": 1,
        "max_gradient_norm": 1.0,
        "patience": 100,
        "val_interval": 1,
        "picture_interval": 0,
        "keep_best": 1,
        "num_workers": 2,
        "loader_workers": 0,
        "cache": "auto",
        "cache_dir": "$flemme_monai.utils.path_in(@bundle_root, 'cache')",
        "seed": 0,
        "amp": False,
        "compile": False,
        "resume": False,
        "pretrained": None,
        "pretrained_head": True,
        "freeze": None,
        "layer_decay": 1.0,
        "device": "$flemme_monai.utils.select_device('auto')",
        "augmentation": {},
    }


def split_datalist(task: str, out_channels: str, **more: str) -> Config:
    """The cases of training, validation and test.

    Args:
        task: the kind of cases, which may be an expression.
        out_channels: number of the network's outputs.
        more: further arguments.
    """
    return component(
        "flemme_monai.data.split_datalist",
        dataset_dir="@dataset_dir",
        task=task,
        spatial_dims="@spatial_dims",
        in_channels="@in_channels",
        out_channels=out_channels,
        image_size="@image_size",
        seed="@seed",
        fold="@fold",
        num_folds="@num_folds",
        split="@split",
        split_file="@split_file",
        split_by="@split_by",
        shuffle_split="$flemme_monai.utils.as_bool(@shuffle_split)",
        group_by="@group_by",
        record="$flemme_monai.utils.path_in(@ckpt_dir, 'split.json') if @datalist#resume else None",
        resume="$flemme_monai.utils.as_bool(@resume)",
        pretrained_weights="@pretrained_weights",
        neighbour_slices="@neighbour_slices",
        image_folders="@image_folders",
        label_folder="@label_folder",
        **more,
    )


def optimization(network_def: Config, loss: Config, **initial: str) -> Config:
    """The network, its loss, the optimizer and the learning rate's schedule.

    Args:
        network_def: the network.
        loss: what training lowers.
        initial: further arguments of what the network begins with.
    """
    return {
        "network_settings": {},
        "network_def": network_def,
        "pretrained_weights": component(
            "flemme_monai.finetune.find_weights",
            pretrained="@pretrained",
            bundle_root="@bundle_root",
            ckpt_dir="@ckpt_dir",
            resume="$flemme_monai.utils.as_bool(@resume)",
        ),
        "initial_network": component(
            "flemme_monai.finetune.initial_network",
            network="@network_def",
            weights="@pretrained_weights",
            pretrained_head="$flemme_monai.utils.as_bool(@pretrained_head)",
            freeze="@freeze",
            settings="@network_settings",
            **initial,
        ),
        "network": f"$@initial_network.to({DEVICE[1:]})",
        "loss": loss,
        "optimizer": component(
            "torch.optim.AdamW",
            params="$flemme_monai.optim.parameter_groups(@network, @optimizer#lr, @layer_decay)",
            lr="@learning_rate",
            weight_decay="@weight_decay",
        ),
        "lr_scheduler": component(
            "flemme_monai.optim.warmup_schedule",
            optimizer="@optimizer",
            total_steps="$@max_steps or @epochs * len(@train#dataloader)",
            warmup_steps="$@warmup_epochs * len(@train#dataloader)",
            decay="@decay",
            floor=0.01,
            steps_per_epoch="$len(@train#dataloader)",
            options="@decay_options",
        ),
    }


def simple_inferer() -> Config:
    """The network is given a batch as it is."""
    return component("monai.inferers.SimpleInferer")


def window_inferer(overlap: float | str, sw_batch_size: int | str = 4, **more: Any) -> Config:
    """Windows of ``image_size`` slide over an image; ``more`` are further arguments of the inferer."""
    return component(
        "flemme_monai.inferers.WindowInferer",
        roi_size="@image_size",
        sw_batch_size=sw_batch_size,
        overlap=overlap,
        spatial_dims="@spatial_dims",
        **more,
    )


def case_dataset(part: str, transform: Config | str, slices: bool | str = "$@spatial_dims == 2", **more: str) -> Config:
    """The cases of a part of the split.

    Args:
        part: ``train``, ``val`` or ``test``.
        transform: the transforms, or where they stand.
        slices: whether volumes are cut into slices.
        more: further arguments.
    """
    return component(
        "flemme_monai.data.CaseDataset",
        data=f"$@datalist['{part}']",
        transform=transform,
        slices=slices,
        num_workers="@num_workers",
        cache="@cache",
        cache_dir="@cache_dir",
        **more,
    )


def ordered_loader(dataset: str, batch_size: int | str) -> Config:
    """The batches of a dataset in its order, made in this process."""
    return component(
        "flemme_monai.data.CaseLoader", dataset=dataset, batch_size=batch_size, shuffle=False, num_workers=0
    )


def training_part(
    preprocessing: Config,
    key_metric: Config,
    handlers: list[Config],
    inferer: Config | None = None,
    prepare_batch: Config | None = None,
    sampler: Config | None = None,
    **dataset: str,
) -> Config:
    """The part ``train``: data, handlers and the trainer.

    Args:
        preprocessing: from a case to a sample.
        key_metric: the metric of an epoch.
        handlers: the trainer's handlers.
        inferer: how the network is called; as it is by default.
        prepare_batch: from a batch to the network's arguments and the loss's target; image and label by default.
        sampler: the cases of an epoch where it has ``steps_per_epoch``; every case once by default.
    """
    part: Config = {
        "preprocessing": preprocessing,
        "dataset": case_dataset("train", "@train#preprocessing", **dataset),
        "dataloader": component(
            "flemme_monai.data.CaseLoader",
            dataset="@train#dataset",
            batch_size="@batch_size",
            shuffle=True,
            generator="$torch.Generator()",
            num_workers="@loader_workers",
            buffer_size=4,
        ),
        "inferer": simple_inferer() if inferer is None else inferer,
        "postprocessing": compose(component("flemme_monai.transforms.FirstOutputd", keys="pred")),
        "key_metric": key_metric,
        "handlers": handlers,
        "trainer": component(
            "monai.engines.SupervisedTrainer",
            max_epochs="$flemme_monai.optim.run_length(@epochs, @max_steps, len(@train#dataloader))",
            device=DEVICE,
            train_data_loader="@train#dataloader",
            network="@network",
            loss_function="@loss",
            optimizer="@optimizer",
            inferer="@train#inferer",
            postprocessing="@train#postprocessing",
            key_train_metric="@train#key_metric",
            train_handlers="@train#handlers",
            accumulation_steps="@accumulation_steps",
            amp=AMP,
            compile="$flemme_monai.utils.as_bool(@compile)",
            decollate=True,
            optim_set_to_none=True,
        ),
    }
    if sampler is not None:
        part["dataloader"] |= {"shuffle": "$@steps_per_epoch is None", "sampler": sampler}
    if prepare_batch is not None:
        part["trainer"]["prepare_batch"] = "@train#prepare_batch"
        part["prepare_batch"] = prepare_batch
    return part


def validation_part(
    preprocessing: Config,
    postprocessing: Config,
    key_metric: Config,
    additional_metrics: Config | None,
    slices: bool | str = "$@spatial_dims == 2",
    batch_size: int | str = 1,
    inferer: Config | None = None,
    network: str = "@network",
    **evaluator: Any,
) -> Config:
    """The part ``validate``: data and the evaluator.

    Args:
        preprocessing: from a case to a sample.
        postprocessing: from a prediction to what metrics take.
        key_metric: the metric by which the best weights are known.
        additional_metrics: further ones.
        slices: whether volumes are cut into slices.
        batch_size: of validation.
        inferer: how the network is called; by windows by default.
        network: the one that is validated.
        evaluator: further arguments of the evaluator.
    """
    return {
        "preprocessing": preprocessing,
        "dataset": case_dataset("val", "@validate#preprocessing", slices),
        "dataloader": ordered_loader("@validate#dataset", batch_size),
        "inferer": window_inferer(0.25) if inferer is None else inferer,
        "postprocessing": postprocessing,
        "handlers": [],
        "key_metric": key_metric,
        "additional_metrics": additional_metrics,
        "evaluator": component(
            "monai.engines.SupervisedEvaluator",
            device=DEVICE,
            val_data_loader="@validate#dataloader",
            network=network,
            inferer="@validate#inferer",
            postprocessing="@validate#postprocessing",
            key_val_metric="@validate#key_metric",
            additional_metrics="@validate#additional_metrics",
            val_handlers="@validate#handlers",
            amp=AMP,
            **evaluator,
        ),
    }


def training_steps() -> Config:
    """The steps of a training."""
    return {
        "initialize": [
            "$flemme_monai.utils.install_one_line_errors()",
            "$flemme_monai.utils.check_settings()",
            "$monai.utils.set_determinism(seed=@seed)",
        ],
        "run": ["$flemme_monai.utils.refuse_used_folders(@ckpt_dir, @output_dir)", "$@train#trainer.run()"],
    }
