"""Settings of the bundles do what the table of settings says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from flemme_monai.commands.places import BUNDLES


def parsed(bundle: str, tmp_path: Path, **settings) -> ConfigParser:
    """A training config on small phantoms."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / bundle / "configs" / "train.json"))
    small = {"image_size": [16, 16], "num_workers": 0, "ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
    parser.update({**small, **settings})
    return parser


@pytest.mark.parametrize("bundle", ["sem_unet", "hae_swin", "clm_cnn", "vae_cnn", "edm_unet", "sdm_unet"])
def test_training_batches_are_plain_tensors(bundle: str, tmp_path: Path) -> None:
    """MONAI's trainer cannot put meta data back on the list that a compiled hierarchical network gives."""
    batch = next(iter(parsed(bundle, tmp_path).get_parsed_content("train#dataloader")))
    assert {type(batch[key]) for key in ("image", "label") if key in batch} == {torch.Tensor}


def test_switches_take_the_words_of_the_command_line(tmp_path: Path) -> None:
    words = {"amp": "false", "compile": "false", "resume": "false", "shuffle_split": "true"}
    parser = parsed("sem_unet", tmp_path, **words)
    trainer = parser.get_parsed_content("train#trainer")
    assert not trainer.amp
    assert not trainer.compile
    names = [case["case"] for case in parser.get_parsed_content("datalist")["train"]]
    assert names != sorted(names)


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.5), ("cosine", 0.5)])
@pytest.mark.parametrize("optimizer", ["torch.optim.Adam", "torch.optim.AdamW"])
def test_optimizer_and_schedule_are_chosen(optimizer: str, decay: str, middle: float, tmp_path: Path) -> None:
    settings = {"decay": decay, "epochs": 2, "warmup_epochs": 0, "learning_rate": 1.0, "optimizer#_target_": optimizer}
    parser = parsed("sem_unet", tmp_path, **settings)
    schedule = parser.get_parsed_content("lr_scheduler")
    assert type(parser.get_parsed_content("optimizer")).__name__ == optimizer.rpartition(".")[2]
    assert schedule.lr_lambdas[0](len(parser.get_parsed_content("train#dataloader"))) == pytest.approx(middle)


def test_a_fold_and_a_split_file_reach_the_data(tmp_path: Path) -> None:
    fold = parsed("sem_unet", tmp_path, fold=1, num_folds=4).get_parsed_content("datalist")
    assert [len(cases) for cases in fold.values()] == [40, 20, 20]
    (tmp_path / "split.json").write_text('{"train": ["phantom_003"], "val": ["phantom_001"]}', encoding="utf-8")
    named = parsed("sem_unet", tmp_path, split_file=str(tmp_path / "split.json")).get_parsed_content("datalist")
    assert [cases[0]["case"] for cases in named.values()] == ["phantom_003", "phantom_001", "phantom_001"]
