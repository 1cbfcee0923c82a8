"""What a command line sets is checked against the configs."""

from __future__ import annotations

import itertools
import json
import logging
import re
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from flemme_monai.recipes import make_bundle, write
from flemme_monai.utils import as_bool, check_settings, renamed_setting
from flemme_monai.utils.settings import FORMER_NAMES, check_overrides, default_of, overrides

ROOT = Path(__file__).resolve().parents[2]
TRAIN = {
    "epochs": 40,
    "learning_rate": 0.001,
    "amp": False,
    "dataset_dir": None,
    "image_size": [64, 64],
    "augmentation": {"flip": 0.5},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": "@learning_rate", "eps": 1e-8, "amsgrad": False},
    "handlers": [{"_target_": "flemme_monai.handlers.EpochSeed", "seed": 0}],
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A bundle's configs."""
    (tmp_path / "train.json").write_text(json.dumps(TRAIN), encoding="utf-8")
    (tmp_path / "evaluate.json").write_text(json.dumps({"handlers#0#seed": 1}), encoding="utf-8")
    (tmp_path / "inference.json").write_text(json.dumps({"overlap": 0.25, "amp": False}), encoding="utf-8")
    return tmp_path


def check(configs: Path, *arguments: str, names: tuple[str, ...] = ("train",)) -> None:
    files = [str(configs / f"{name}.json") for name in names]
    check_overrides(["--config_file", str(files) if len(files) > 1 else files[0], *arguments])


@pytest.mark.parametrize(("value", "expected"), [(True, True), ("true", True), ("False", False), ("false", False)])
def test_a_switch_is_a_value_or_a_word(value: bool | str, expected: bool) -> None:
    assert as_bool(value) is expected


@pytest.mark.parametrize("value", ["yes", 1, None, ""])
def test_anything_else_is_no_switch(value) -> None:
    with pytest.raises(ValueError, match="is no switch; expected true or false"):
        as_bool(value)


def test_a_command_line_is_read_as_fire_reads_it() -> None:
    line = [
        "--epochs",
        "3",
        "--lr=-1e-3",
        "--amp",
        "true",
        "--size",
        "[64,64]",
        "--a#b",
        "x",
        "--resume",
        "--",
        "--trace",
    ]
    assert overrides(line) == {"epochs": 3, "lr": -1e-3, "amp": "true", "size": [64, 64], "a#b": "x", "resume": True}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "3", "--learning_rate", "1", "--amp", "true", "--dataset_dir", "x", "--image_size", "64,64"],
        ["--epochs=$1+1", "--learning_rate", "@epochs", "--amp"],
        ["--augmentation#flip", "0", "--augmentation::flip", "1", "--handlers#0#seed", "3"],
        ["--optimizer#betas", "[0.9,0.9]", "--optimizer#_target_", "torch.optim.Adam"],
        ["--optimizer#amsgrad", "True", "--optimizer#eps", "[1e-8,1e-7]", "--optimizer#amsgrad", "$not False"],
        ["--run_id", "run", "--logging_file", "x.conf"],
    ],
)
def test_settings_of_the_configs_are_taken(
    configs: Path, arguments: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        check(configs, *arguments)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epoch", "3"], "there is no setting 'epoch'; did you mean epochs?"),
        (["--foo", "3"], "there is no setting 'foo'; there are epochs, learning_rate, amp"),
        (["--augmentation#flop", "3"], "there is no setting 'flop' in augmentation; did you mean flip?"),
        (["--augmentations#flip", "3"], "there is no setting 'augmentations'; did you mean augmentation?"),
        (["--optimiser#betas#x", "3"], "there is no setting 'optimiser'; did you mean optimizer?"),
        (["--epochs#x", "3"], "there is no setting 'x' in epochs; there are none"),
        (["--epochs", "many"], "epochs is 'many'; expected a whole number, such as 40"),
        (["--epochs", "1.5"], "epochs is 1.5; expected a whole number"),
        (["--learning_rate", "[1]"], "learning_rate is [1]; expected a number"),
        (["--optimizer#eps", "many"], "optimizer#eps is 'many'; expected a number"),
        (["--optimizer#amsgrad", "false"], "optimizer#amsgrad is 'false'; expected True or False"),
        (["--augmentation#flip", "[1]"], "augmentation#flip is [1]; expected a number"),
        (["--amp", "maybe"], "amp is 'maybe'; expected true or false, such as false"),
    ],
)
def test_what_would_be_taken_silently_is_refused(configs: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check(configs, *arguments)
    assert words in str(error.value)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configs of a bundle whose network has its class's defaults but for what it is for."""
    folder = tmp_path_factory.mktemp("hae_vmamba")
    write(folder, make_bundle("hae_vmamba"))
    return folder / "configs"


def unsure(yes: bool | str = False, half=0, share: float = 0, count: int = 1, name: int | str = 1, off=False) -> None:
    """A component whose defaults do not tell all kinds of values that it takes."""


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("yes=often", ""),
        ("half=0.5", ""),
        ("half=much", "expected a number"),
        ("share=0.5", ""),
        ("share=much", "expected a number"),
        ("count=0.5", "expected a whole number"),
        ("name=first", ""),
        ("off=false", "expected True or False"),
        ("of=false", "has no setting 'of'; did you mean off?"),
        ("_disabled_=True", ""),
    ],
)
def test_a_value_is_compared_with_its_default_as_far_as_that_tells(configs: Path, argument: str, expected: str) -> None:
    (configs / "train.json").write_text(json.dumps({"part": {"_target_": f"{__name__}.unsure"}}), encoding="utf-8")
    if not expected:
        return check(configs, f"--part#{argument}")
    with pytest.raises(ValueError, match=expected):
        check(configs, f"--part#{argument}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network_def#backbone#channels", "[32,64,128]", "--network_def#backbone#num_blocks", "[1,2,2]"],
        ["--network_def#backbone#patch_size", "4", "--network_def#backbone#strides", "[[2,2,1],2]"],
        ["--network_def#backbone#checkpointing", "True", "--network_def#backbone#drop_path", "0.2"],
        ["--network_def#backbone#latent_size", "8", "--network_def#fusion", "add"],
        ["--network_def#backbone#family#block", "mamba2", "--network_def::backbone::family::flip", "False"],
        ["--network_def#backbone#conditioning#combine", "add", "--network_def#backbone#conditioning#_disabled_=False"],
        ["--network_def#backbone#decoder_family", "{'_target_': 'flemme_monai.backbones.ConvFamily'}"],
        ["--network_def#_target_", "flemme_monai.architectures.ClM", "--network_def#hidden", "[8]"],
        ["--network_def::_target_", "flemme_monai.architectures.ClM", "--network_def#hidden", "[8]"],
        ["--optimizer#_target_", "torch.optim.SGD", "--optimizer#momentum", "0.9"],
        ["--train#trainer#decollate", "False", "--validate#inferer#sw_batch_size", "1"],
        ["--train#dataloader#drop_last", "True", "--loss#interp_mode", "nearest"],
    ],
)
def test_what_a_config_leaves_to_its_classes_is_set_all_the_same(bundle: Path, arguments: list[str]) -> None:
    check(bundle, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--network_def#backbone#chanels", "[8]"], "VMamba has no setting 'chanels'; did you mean channels?"),
        (["--network_def#backbone#num_block", "1"], "VMamba has no setting 'num_block'; did you mean num_blocks?"),
        (["--network_def#fusoin", "add"], "HAE has no setting 'fusoin'; did you mean fusion?"),
        (["--network_def#backbone#family#stat_size", "2"], "no setting 'stat_size'; did you mean state_size?"),
        (["--network_def::backbone::family::flop", "False"], "MambaFamily has no setting 'flop'; did you mean flip?"),
        (["--network_def#backbone#zzz", "2"], "VMamba has no setting 'zzz'; there are spatial_dims, in_channels, "),
        (["--network_def#backbone#famly#norm", "batch"], "VMamba has no setting 'famly'; did you mean family?"),
        (["--network_def#backbone#family#flip", "false"], "family#flip is 'false'; expected True or False"),
        (["--network_def#backbone#checkpointing", "no"], "checkpointing is 'no'; expected True or False"),
        (["--network_def#backbone#patch_channels", "much"], "patch_channels is 'much'; expected a whole number"),
        (["--network_def#backbone#family#mlp_ratio", "wide"], "mlp_ratio is 'wide'; expected a number, such as 4.0"),
        (["--network_def#backbone#decoder_family#norm", "batch"], "backbone#decoder_family is not in the config"),
        (["--optimizer#beta", "1"], "torch.optim.AdamW has no setting 'beta'; did you mean betas?"),
        (["--optimizer#_target_", "torch.optim.SGD", "--optimizer#betas", "[0.9,0.9]"], "SGD has no setting 'betas'"),
        (["--network_defs#fusion", "add"], "there is no setting 'network_defs'; did you mean network_def?"),
    ],
)  # fmt: skip
def test_what_a_class_does_not_take_is_refused_by_its_signature(bundle: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check(bundle, *arguments)
    assert words in str(error.value)


def test_every_override_that_the_pages_name_is_taken(tmp_path: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "flemme_monai/recipes/texts").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    given = re.findall(r"--(\w+#[\w#]+) (\"[^\"]*\"|[^\s`]+)", text)
    assert len(given) > 15
    asked = ("sem_unet", "hsem_vmambau", "ae_unet", "ddpm_vit", "clm_cnn", "sem_resunet")
    for pair in asked:
        write(tmp_path / pair, make_bundle(pair))
    refused = []
    for name, value in dict(given).items():
        errors = []
        for pair, config in itertools.product(tmp_path.iterdir(), ("train", "inference")):
            try:
                check(pair / "configs", f"--{name}", value.strip('"'), names=(config,))
            except ValueError as error:
                errors.append(str(error))
        if len(errors) == 2 * len(asked):
            refused.append((name, errors))
    assert refused == []


@pytest.mark.parametrize("default", [4, None, [32, 32], "cosine", 0.5])
def test_a_default_behind_the_record_of_the_weights_is_a_default(default) -> None:
    assert default_of(f"$@trained.get('a_setting', {default!r})") == default
    assert default_of(default) == default


def test_the_kind_of_a_setting_is_known_behind_the_record_of_the_weights(configs: Path) -> None:
    taken = {"num_classes": "$@trained.get('num_classes', 4)", "image_size": "$@trained.get('image_size', [64, 64])"}
    (configs / "inference.json").write_text(json.dumps(taken), encoding="utf-8")
    check(configs, "--num_classes", "2", "--image_size", "32", names=("inference",))
    with pytest.raises(ValueError, match="num_classes is 'two'; expected a whole number, such as 4"):
        check(configs, "--num_classes", "two", names=("inference",))


RENAMED = {"guidance": None, "guidance_scale": "$flemme_monai.utils.renamed_setting('guidance_scale', @guidance, 1.0)"}


@pytest.mark.parametrize(
    ("given", "value", "lines"), [({}, 1.0, 0), ({"guidance": 0}, 0, 1), ({"guidance": 2.5}, 2.5, 1)]
)
def test_a_setting_is_understood_under_its_former_name(given, value, lines, caplog: pytest.LogCaptureFixture) -> None:
    """On a command line, in a config file that is laid over the bundle's, and from Python: all end in the config."""
    parser = ConfigParser({"imports": ["$import flemme_monai"], **RENAMED, **given, "used": ["@guidance_scale"] * 2})
    assert parser.get_parsed_content("used") == [value, value]
    assert caplog.messages == [f"guidance is now called guidance_scale: {value} is taken"] * lines


def test_the_new_name_is_set_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    parser = ConfigParser({"imports": ["$import flemme_monai"], **RENAMED})
    parser.update({"guidance_scale": 3.0})
    assert parser.get_parsed_content("guidance_scale") == 3.0
    assert caplog.messages == []


def test_a_former_name_is_checked_as_the_new_one(configs: Path) -> None:
    (configs / "inference.json").write_text(json.dumps(RENAMED), encoding="utf-8")
    for name in RENAMED:
        check(configs, f"--{name}", "2", names=("inference",))
        with pytest.raises(ValueError, match=f"{name} is 'much'; expected a number, such as 1.0"):
            check(configs, f"--{name}", "much", names=("inference",))
    with pytest.raises(ValueError, match="guidance and guidance_scale are one setting under two names"):
        check(configs, "--guidance", "2", "--guidance_scale", "3", names=("inference",))
    with pytest.raises(ValueError, match="there is no setting 'churn'"):  # of a config that has neither name
        check(configs, "--churn", "2", names=("inference",))


@pytest.mark.parametrize("default", [1.0, None, [0, 1]])
def test_a_default_behind_a_former_name_is_a_default(default) -> None:
    name, former = next(iter(FORMER_NAMES.items()))
    assert default_of(f"$flemme_monai.utils.renamed_setting('{name}', @{former}, {default!r})") == default
    assert renamed_setting(name, None, default) == default


def test_configs_laid_over_each_other_are_one(configs: Path) -> None:
    check(configs, "--epochs", "3", names=("train", "evaluate"))


def test_a_setting_of_another_workflow_has_no_effect_and_that_is_said(
    configs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    check(configs, "--epochs", "3", "--amp", "true", names=("inference",))
    assert caplog.messages == ["epochs has no effect in inference.json"]


def test_a_file_of_arguments_is_checked_too(configs: Path) -> None:
    (configs / "args.json").write_text(
        json.dumps({"config_file": str(configs / "train.json"), "epoch": 3}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="there is no setting 'epoch'"):
        check_overrides(["--args_file", str(configs / "args.json")])


def test_nothing_is_checked_elsewhere() -> None:
    check_settings()
