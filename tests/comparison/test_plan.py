"""What a comparison compares, and the runs that it is made of."""

import json
from pathlib import Path

import pytest

from flemme_monai.comparison import plan
from flemme_monai.comparison.entries import Entry, entries
from flemme_monai.comparison.plan import Budget, Comparison, Run, steps_an_epoch
from flemme_monai.recipes import make_bundle, write


def names(*wanted, architectures=(), encoders=None):
    return [entry.name for entry in entries(wanted, architectures, encoders)]


def comparison(tmp_path, *wanted, **more):
    usual = {
        "data": {"": None},
        "folds": [],
        "seeds": [0],
        "budget": Budget("epochs", 3),
        "match": None,
        "settings": [],
        "settings_of_some": [],
    }
    return Comparison(entries=entries(wanted, (), None), output=tmp_path, **{**usual, **more})


def test_pairs_patterns_and_tables_of_architectures_name_bundles():
    assert names("sem_unet", "[hs]*em_swinu") == ["sem_unet", "sem_swinu", "hsem_swinu"]
    assert "nuclei_hsem_unet" in names("nuclei_*")
    assert names(architectures=["sem", "hsem"], encoders=["unet", "nnunet"]) == [
        *("sem_unet", "hsem_unet"),
        *("sem_nnunet", "hsem_nnunet"),
    ]
    assert "sem_setr" in names(architectures=["sem"], encoders=["networks"])
    assert names(architectures=["clm"]) == ["clm_cnn", "clm_vit", "clm_swin", "clm_vmamba", "clm_mednext"]
    assert names("sem_unet", "sem_u*et")[0] == "sem_unet"


def test_a_pair_may_be_compared_with_a_variant_of_itself():
    (entry,) = entries(["hsem_res=hsem_unet"], (), None)
    assert entry == Entry("hsem_res", "hsem_unet", "hsem")
    assert (entry.encoder, entry.backbone, entry.hierarchical, entry.task) == ("res", "unet", True, "segmentation")


def test_a_bundle_in_a_folder_is_known_by_its_network(tmp_path):
    write(tmp_path / "nuclei_hsem_swinu", make_bundle("hsem_swinu", "nuclei_hsem_swinu"))
    (entry,) = entries([str(tmp_path / "nuclei_hsem_swinu")], (), None)
    assert (entry.architecture, entry.encoder, entry.backbone) == ("hsem", "nuclei_swinu", "swinu")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["*_unett"], r"the pattern '\*_unett' fits no bundle; did you mean"),
        (["sem_unett"], "no bundle 'sem_unett'"),
        (["a=sem_unet", "a=hsem_unet"], "two bundles are called 'a'"),
        (["a b=sem_unet"], "'a b=sem_unet' is no variant; expected NAME=PAIR"),
    ],
)
def test_what_names_no_bundle_is_refused(wanted, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        entries(wanted, (), None)


def test_a_run_for_each_seed_fold_data_set_and_bundle(tmp_path):
    data = {"a": "/data/a", "b": "/data/b"}
    found = comparison(tmp_path, "sem_unet", "hsem_unet", data=data, folds=[0, 2], seeds=[5, 7]).runs()
    assert len(found) == 16
    first, last = found[0], found[-1]
    assert first.folder == tmp_path / "a" / "sem_unet" / "fold_0_seed_5"
    assert first.budget["settings"] == {"dataset_dir": "/data/a", "epochs": 3, "seed": 5, "fold": 0}
    assert last.title == "hsem_unet on b fold 2 seed 7"
    assert [run.seed for run in found] == [5] * 8 + [7] * 8  # a stopped comparison has all bundles with one seed


def test_settings_may_be_for_some_bundles_and_data_sets_only(tmp_path):
    some = [("*_vit*", "batch_size", "4"), ("b/*", "num_classes", "3"), ("a/hsem*", "image_size", "[32,32]")]
    found = comparison(
        tmp_path,
        "sem_cnn",
        "hsem_vitu",
        data={"a": "/a", "b": "/b"},
        settings=[("in_channels", "2")],
        settings_of_some=some,
    )
    sem, hsem = found.entries
    assert found.settings_of("a", sem) == {"dataset_dir": "/a", "in_channels": 2}
    assert found.settings_of("a", hsem) == {
        "dataset_dir": "/a",
        "in_channels": 2,
        "batch_size": 4,
        "image_size": [32, 32],
    }
    assert found.settings_of("b", hsem) == {"dataset_dir": "/b", "in_channels": 2, "batch_size": 4, "num_classes": 3}


def test_steps_become_whole_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "steps_an_epoch", lambda source, settings: 30)
    (run,) = comparison(tmp_path, "sem_unet", budget=Budget("steps", 100)).runs()
    assert run.budget["settings"]["epochs"] == 3
    (run,) = comparison(tmp_path / "few", "sem_unet", budget=Budget("steps", 1)).runs()
    assert run.budget["settings"]["epochs"] == 1


def test_minutes_become_epochs_by_the_time_of_a_step_which_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "steps_an_epoch", lambda source, settings: 30)
    monkeypatch.setattr(plan, "measured_costs", lambda networks: {name: {"step ms": 100.0} for name in networks})
    wanted = comparison(tmp_path, "sem_unet", budget=Budget("minutes", 0.5))
    (run,) = wanted.runs()
    assert run.budget["settings"]["epochs"] == 10  # 300 steps
    monkeypatch.setattr(plan, "measured_costs", lambda networks: pytest.fail("it was measured again"))
    assert wanted.runs()[0].budget == run.budget


def test_the_steps_of_an_epoch_are_counted_in_the_data():
    settings = {"image_size": [32, 32], "batch_size": 5, "num_workers": 0}
    parts = json.loads(make_bundle("sem_unet", settings=settings)["configs/train.json"])
    assert parts["batch_size"] == 5
    twice = steps_an_epoch("sem_unet", settings)
    assert steps_an_epoch("sem_unet", {**settings, "batch_size": 10}) == -(-twice * 5 // 10)


def test_a_run_is_made_again_from_plain_values():
    run = Run(Entry("a", "sem_unet", "sem"), "d", 1, 2, {"settings": {"x": [1]}}, Path("/there"))
    other = Run.from_json(json.loads(json.dumps(run.as_json())))
    assert vars(other) == vars(run)
