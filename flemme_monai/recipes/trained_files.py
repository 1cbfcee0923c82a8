"""What a bundle with weights says of itself: its page, its entries of ``metadata.json`` and the license of its data."""

from __future__ import annotations

from ..registry import ARCHITECTURES
from .base import Config, Recipe
from .pages import filled_text, words_of
from .trained import DATASETS, TrainedBundle

RUN = "python -m monai.bundle run --config_file"
EXAMPLES = {
    "segmentation": "Three validation cases: image, label, prediction.",
    "reconstruction": "Three validation cases: what the network gets, what it should give, what it gives.",
    "classification": "Validation cases with their class and the class that is predicted.",
    "generation": "Samples, a row a class.",
}


def trained_metadata(bundle: TrainedBundle, content: Config) -> Config:
    """``metadata.json`` of a bundle with weights.

    Args:
        bundle: the bundle.
        content: the file of its pair with the same settings.
    """
    data, results = DATASETS[bundle.dataset], bundle.results
    outputs = content["network_data_format"]["outputs"]["pred"]
    if outputs["num_channels"] == len(data.channels):
        outputs["channel_def"] = {str(i): name for i, name in enumerate(data.channels)}
    return {
        **content,
        "task": bundle.task,
        "description": f"{content['description'].partition(', in 2D')[0]}, trained on {data.title}: {bundle.task}.",
        "data_source": f"{data.title}; {data.attribution}",
        "data_type": data.data_type,
        "image_classes": data.image_classes,
        **({"label_classes": data.label_classes} if data.label_classes else {}),
        "eval_metrics": {name: results["metrics"][name]["mean"] for name in bundle.metrics},
    }


def data_license(bundle: TrainedBundle) -> str:
    """``docs/data_license.txt``."""
    data = DATASETS[bundle.dataset]
    return (
        f"The weights of {bundle.name} were trained on third-party data:\n\n{data.title}\n{data.description}\n"
        f"Attribution: {data.attribution}\nLicense: {data.license}\n\n"
        "The data itself is not part of this bundle. Who passes the weights on names its source and license.\n"
    )


def trained_page(bundle: TrainedBundle, recipe: Recipe, metadata: Config) -> str:
    """``docs/README.md`` of a bundle with weights, after the template of the zoo.

    Args:
        bundle: the bundle.
        recipe: what it is made of.
        metadata: its ``metadata.json``.
    """
    data, results = DATASETS[bundle.dataset], bundle.results
    chosen = results["chosen"]
    trainings = [name for name in recipe.workflows if name.startswith("train")]
    words = {
        **words_of(bundle.name, bundle.pair, recipe),
        "task": bundle.task,
        "parameters": f"{results['parameters']:,}",
        "examples": EXAMPLES[_kind(bundle)],
        "data": data.title,
        "data_description": data.description,
        "split": data.split,
        "data_license": data.license,
        "epochs": results["epochs"],
        "minutes": results["minutes"],
        "machine": results["machine"],
        "chosen": f"The weights are those of epoch {chosen['epoch']}, with the best {chosen['metric']} on the "
        f"validation part, {chosen['value']}.",
        "train": "\n".join(f"{RUN} configs/{name}.json --dataset_dir DIR" for name in trainings),
        "input": _shape(
            metadata["network_data_format"]["inputs"]["image"],
            "latents of an image" if "train_autoencoder" in trainings else data.image_classes,
        ),
        "output": _shape(metadata["network_data_format"]["outputs"]["pred"], ", ".join(_channels(metadata))),
        "table": _table(bundle),
        "evaluate": _evaluate(bundle, trainings[-1]),
        "commands": _commands(bundle, trainings[-1]),
        "limits": bundle.limits,
        "references": "\n".join(f"- {reference}" for reference in metadata["references"]),
    }
    return filled_text("readme_trained.md", words)


def _kind(bundle: TrainedBundle) -> str:
    """The task of a bundle's architecture."""
    return ARCHITECTURES[bundle.pair.partition("_")[0]].task


def _channels(metadata: Config) -> list[str]:
    return list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())


def _shape(entry: Config, what: str) -> str:
    bounds = entry["value_range"]
    values = f", values from about {bounds[0]} to {bounds[1]}" if bounds else ""
    sides = " x ".join(side.replace("*n", "n") for side in entry["spatial_shape"])
    channels = "one channel" if entry["num_channels"] == 1 else f"{entry['num_channels']} channels"
    return f"{channels} ({what}), {sides} for any n > 0{values}"


def _table(bundle: TrainedBundle) -> str:
    found = bundle.results["metrics"]
    rows = [
        f"| {name} | {found[name]['mean']}" + (f" ± {found[name]['std']}" if "std" in found[name] else "") + " |"
        for name in bundle.metrics
    ]
    return "\n".join(["| metric | mean ± deviation over cases |", "|---|---|", *rows])


def _evaluate(bundle: TrainedBundle, training: str) -> str:
    options = "".join(f" --{name} {value}" for name, value in bundle.evaluation.items())
    return f"{RUN} \"['configs/{training}.json','configs/evaluate.json']\" --dataset_dir DIR{options}"


def _commands(bundle: TrainedBundle, training: str) -> str:
    if _kind(bundle) == "generation":
        lines = [f"{RUN} configs/inference.json --num_samples 48 --guidance_scale 2 --output_dir OUT"]
        lines += [f"{RUN} configs/inference.json --num_samples 8 --class_label 4 --output_dir OUT"]
    else:
        lines = [f"{RUN} configs/inference.json --dataset_dir MY_IMAGES --output_dir OUT"]
    lines += [f"{RUN} configs/{training}.json --dataset_dir MINE --pretrained true --epochs 10"]
    export = "python -m monai.bundle ckpt_export network_def --filepath models/model.ts --ckpt_file models/model.pt"
    lines += [f"{export} --meta_file configs/metadata.json --config_file configs/inference.json --bundle_root ."]
    return "\n".join(lines)
