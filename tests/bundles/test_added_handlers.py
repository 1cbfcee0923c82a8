"""The handlers of every kind of bundle do their work when a user puts another one before them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from known import Known, config, pair_of, parsed
from monai.data import Dataset
from monai.handlers import StatsHandler, from_engine

from flemme_monai.registry import ARCHITECTURES

SIZE = (16, 16)
IMAGE = torch.linspace(0, 1, 256).view(1, *SIZE)
ITEMS = {
    "segmentation": {"image": torch.cat([IMAGE, 1 - IMAGE, IMAGE.flip(1)]), "label": (IMAGE * 2.9).floor()},
    "classification": {"image": IMAGE, "label": torch.tensor(2)},
}

KEY_METRICS = dict.fromkeys(("sem", "hsem"), "dice") | dict.fromkeys(("ae", "hae", "vae", "ldm"), "psnr")
KEY_METRICS |= {"clm": "accuracy"} | dict.fromkeys(("ddpm", "edm", "sdm", "dsem"), "val_mse")


def run(architecture: str, folder: Path, first: list) -> tuple[list[dict[str, str]], dict]:
    """Rows of the history and the saved state of a run of two epochs, in which a network of one weight learns."""
    name = "train_autoencoder" if architecture == "ldm" else "train"  # of a known network there are no latents

    def answer(x):
        """Of three classes; in training a VAE gives an image, means and deviations."""
        if architecture == "clm":
            return x.flatten(1)[:, :3]
        return [x, x, x.abs() + 1] if architecture in ("vae", "ldm") and torch.is_grad_enabled() else x

    network = Known(answer)
    network.num_levels = 0
    folders = {"ckpt_dir": str(folder / "m"), "output_dir": str(folder / "o")}
    settings = {"image_size": list(SIZE), "epochs": 2, "warmup_epochs": 0, "num_classes": None, **folders}
    task = config(pair_of(architecture), name)["datalist"]["task"]
    if task in ITEMS:
        settings["num_classes"] = 3
    parser = parsed(architecture, name, network=network, **settings)
    item = ITEMS.get(task, {"image": IMAGE, "label": 1 - IMAGE})
    for part in ("train", "validate"):
        parser[part]["dataset"] = Dataset([item] * 2)
    parser["train"]["handlers"] = [*first, *parser["train"]["handlers"]]
    parser.get_parsed_content("train#trainer").run()
    with (folder / "o" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in csv.DictReader(file)]
    assert (folder / "m" / "model.pt").is_file()
    assert (folder / "o" / "examples.png").is_file()
    return rows, torch.load(folder / "m" / "last.pt", weights_only=True)


SLOW = ("hsem", "ae", "edm", "ldm")  # their siblings have the same handlers


@pytest.mark.parametrize(
    "architecture", [pytest.param(a, marks=[pytest.mark.slow] * (a in SLOW)) for a in ARCHITECTURES]
)
def test_statistics_before_all_others_change_nothing(architecture, tmp_path, capsys):
    statistics = StatsHandler(iteration_log=False, output_transform=from_engine(["loss"], first=True))
    rows, state = run(architecture, tmp_path / "own", [])
    reported, other = run(architecture, tmp_path / "more", [statistics])
    assert reported == rows
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert KEY_METRICS[architecture] in rows[1]
    assert other["network"] == state["network"]
    assert other.keys() == state.keys()
    assert capsys.readouterr().out.count("epoch 2/2: loss") == 2
