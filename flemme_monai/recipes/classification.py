"""Classification: ``clm``."""

from __future__ import annotations

from ..registry import Encoder, Network
from .base import Config, Format, Recipe, Workflow, component, compose
from .conditions import OF_TABLE, STATISTICS, TABLE
from .handlers import evaluation_handlers, inference_handlers, trainer_handlers
from .inference import (
    evaluation_components,
    evaluation_settings,
    evaluation_steps,
    inference_components,
    inference_list,
    inference_settings,
    inference_steps,
    multi_gpu_training,
)
from .metrics import FROM_BATCH, FROM_TRAINING
from .networks import backbone, network, table_conditioning
from .training import (
    optimization,
    simple_inferer,
    split_datalist,
    training_part,
    training_settings,
    training_steps,
    validation_part,
)
from .transforms import classification_transforms

OUTPUTS = {"num_classes": 4}


def clm(name: str, row: Encoder | Network) -> Recipe:
    """Classification, by the encoder."""
    network_def = classifier(row)
    network_def["backbone"]["conditioning"] = table_conditioning()
    return Recipe(
        title="classification",
        workflows={
            "train": training(name, network_def),
            "evaluate": evaluation(),
            "inference": inference(name, network_def),
            "multi_gpu_train": multi_gpu_training(),
        },
        format=Format("tensor", "logits", ("class 0", "class {i}"), (0, 1), (), patches=False),
        readme="classification",
    )


def classifier(row: Encoder | Network, num_classes: str = "@num_classes") -> Config:
    """The network."""
    return network("clm", backbone(row, "@in_channels", num_classes))


def training(name: str, network_def: Config) -> Workflow:
    """``train.json``: whole images, brought to one size."""
    loss = component("torch.nn.CrossEntropyLoss", label_smoothing="@label_smoothing")
    return Workflow(
        settings={
            **training_settings(name, OUTPUTS),
            "batch_size": 16,
            "augmentation": {"flip": 0.0, "rotate": 0.2, "scale": 0.2, "intensity": 0.3, "noise": 0.2},
            "intensity_range": None,
            **TABLE,
            "label_smoothing": 0.0,
        },
        components={
            "datalist": split_datalist("classification", "@num_classes", **OF_TABLE),
            **optimization(network_def, loss, **STATISTICS),
            "train": training_part(
                preprocessing=classification_transforms(train=True),
                key_metric={"train_accuracy": component("ignite.metrics.Accuracy", output_transform=FROM_TRAINING)},
                handlers=trainer_handlers("classification"),
                prepare_batch=tell_numbers(),
            ),
            "validate": validation_part(
                preprocessing=classification_transforms(train=False),
                postprocessing=compose(
                    probabilities(),
                    component("monai.transforms.CopyItemsd", keys="label", names="onehot"),
                    component("monai.transforms.AsDiscreted", keys="onehot", to_onehot="@num_classes"),
                ),
                key_metric={"accuracy": component("ignite.metrics.Accuracy", output_transform=FROM_BATCH)},
                additional_metrics={
                    "auc": component(
                        "monai.handlers.ROCAUC", output_transform="$monai.handlers.from_engine(['pred', 'onehot'])"
                    ),
                    "f1": component("ignite.metrics.Fbeta", beta=1.0, output_transform=FROM_BATCH),
                },
                batch_size="@batch_size",
                inferer=simple_inferer(),
                prepare_batch="@train#prepare_batch",
                metric_cmp_fn="$lambda new, best: new >= best",
            ),
        },
        steps=training_steps(),
    )


def evaluation() -> Workflow:
    """``evaluate.json``, over ``train.json``: metrics of each class and the confusion matrix."""
    class_report = component(
        "flemme_monai.handlers.ClassReport", output_dir="@output_dir", class_names="@class_names", top_k="@top_k"
    )
    return Workflow(
        settings={**evaluation_settings(), "class_names": None, "top_k": None},
        components=evaluation_components(evaluation_handlers(save_classes(), class_report)),
        steps=evaluation_steps(),
    )


def inference(name: str, network_def: Config) -> Workflow:
    """``inference.json``: the probabilities of each class, for the images of a folder."""
    return Workflow(
        settings={
            **inference_settings(name, OUTPUTS, windows=False),
            "intensity_range": None,
            **TABLE,
            "class_names": None,
        },
        components=inference_components(
            datalist=inference_list("classification", "@num_classes", **OF_TABLE),
            network_def=network_def,
            preprocessing=classification_transforms(train=False, label=False),
            postprocessing=compose(probabilities()),
            handlers=inference_handlers(save_classes()),
            inferer=simple_inferer(),
            slices="$@spatial_dims == 2",
            cache=True,
            batch_size=16,
            prepare_batch=tell_numbers(),
        ),
        steps=inference_steps(),
    )


def tell_numbers() -> Config:
    """The network receives numbers of a table, where there are some."""
    return component(
        "flemme_monai.data.ContextPrepareBatch",
        extra_keys="$dict(context='vector') if @condition_columns else dict()",
    )


def probabilities() -> Config:
    """Logits to probabilities."""
    return component("monai.transforms.Activationsd", keys="pred", softmax=True)


def save_classes() -> Config:
    """Write the probabilities of each case, and a sheet of cases."""
    return component("flemme_monai.handlers.SaveClasses", output_dir="@output_dir", class_names="@class_names")
