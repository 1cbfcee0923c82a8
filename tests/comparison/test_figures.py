"""The figures of a comparison."""

import numpy as np
import pytest
from PIL import Image

from flemme_monai.comparison import figures
from flemme_monai.comparison.entries import Entry
from flemme_monai.comparison.panel import write_panel
from flemme_monai.comparison.plan import Run


def run_of(folder, bundle, seed=0):
    entry = Entry(bundle, bundle, bundle.partition("_")[0])
    return Run(entry, "", None, seed, {"settings": {}}, folder / bundle / f"seed_{seed}")


def keep_cases(run, pred):
    run.folder.mkdir(parents=True)
    label = np.zeros((1, 32, 32), np.int64)
    label[:, 8:16, 8:16] = 1
    np.savez_compressed(
        run.folder / "examples.npz",
        names=np.array(["case_1"]),
        volumes=np.array([False]),
        image_0=np.random.default_rng(0).random((1, 32, 32), np.float32),
        label_0=label,
        pred_0=pred,
    )


def test_each_figure_is_drawn(hierarchical_wins, tmp_path):
    run = run_of(tmp_path, "sem_unet")
    keep_cases(run, np.zeros((1, 32, 32), np.int64))
    names = figures.write_figures(hierarchical_wins, tmp_path, [run])
    assert names == [f"{n}.png" for n in ("comparison", "differences", "curves", "cases", "ranks", "panel")]
    for name in names:
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 5


def test_what_there_is_nothing_to_draw_of_is_left_out(made_results, tmp_path):
    results = made_results({"sem_unet": [[0.5, 0.6]]})
    results.costs.clear()
    results.cases.clear()
    assert figures.write_figures(results, tmp_path, []) == ["curves.png"]


def test_each_data_set_has_its_figures(made_results, tmp_path):
    one, other = (made_results({"sem_unet": [[0.5, 0.6]]}, data=name) for name in "ab")
    for name in ("runs", "cases", "curves", "costs"):
        getattr(one, name).extend(getattr(other, name))
    names = figures.write_figures(one, tmp_path, [])
    assert names == [f"{n}_{d}.png" for d in "ab" for n in ("comparison", "curves", "cases")]


def test_among_many_encoders_those_are_named_than_which_none_is_cheaper_and_better(made_results, monkeypatch):
    results = made_results({"sem_unet": [[0.7]], "sem_swinu": [[0.6]], "sem_vitu": [[0.8]], "sem_vmambau": [[0.75]]})
    costs = {"sem_unet": 1.0, "sem_swinu": 2.0, "sem_vitu": 3.0, "sem_vmambau": 4.0}
    for row in results.costs:
        row.update(dict.fromkeys(figures.COSTS, costs[row["bundle"]]))
    monkeypatch.setattr(figures, "MOST_LABELLED", 3)
    for axes in figures.quality_over_costs(results, "").axes:
        assert {text.get_text() for text in axes.texts} == {"unet", "vitu"}
        assert axes.get_xscale() == "log"
    monkeypatch.setattr(figures, "MOST_LABELLED", 4)
    for axes in figures.quality_over_costs(results, "").axes:
        assert {text.get_text() for text in axes.texts} == {"unet", "swinu", "vitu", "vmambau"}
        assert axes.get_xscale() == "linear"


def test_intervals_are_black_where_they_are_significant(hierarchical_wins):
    figure = figures.paired_differences(hierarchical_wins, "")
    assert figure.get_suptitle().startswith("hierarchical minus plain")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["unet", "swinu", "vmambau", "mean of all"]
    colors = [line.get_color() for line in axes.lines[:-1:2]]
    assert colors == ["black", "0.6", "black", "black"]


def test_a_variant_has_the_look_of_its_encoder(made_results):
    results = made_results({f"sem_{name}": [[0.5]] for name in ("unet", "unet_wide", "vitu", "vit", "nnunet")})
    looks = {bundle: figures.style(results, bundle) for bundle in results.bundles("")}
    assert looks["sem_unet_wide"] == looks["sem_unet"]
    assert len({looks["sem_unet"], looks["sem_vitu"], looks["sem_vit"], looks["sem_nnunet"]}) == 4
    assert looks["sem_nnunet"][0] == figures.OTHER


def test_the_panel_shows_every_bundle_of_the_first_seed(hierarchical_wins, tmp_path):
    runs = [run_of(tmp_path, "sem_unet"), run_of(tmp_path, "hsem_unet"), run_of(tmp_path, "sem_unet", 1)]
    for run in runs:
        keep_cases(run, np.ones((1, 32, 32), np.int64))
    assert write_panel(runs, hierarchical_wins, tmp_path / "three.png")
    assert write_panel(runs[:1], hierarchical_wins, tmp_path / "two.png")
    wide, narrow = (Image.open(tmp_path / f"{name}.png").width for name in ("three", "two"))
    assert wide / narrow == pytest.approx(4 / 3, rel=0.05)  # image and label, and one or two predictions
    assert not write_panel([run_of(tmp_path, "sem_cnn")], hierarchical_wins, tmp_path / "none.png")
