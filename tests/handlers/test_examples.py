"""Every training leaves a picture of its best validation, and is the same without it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from PIL import Image
from tiny_run import discs

from flemme_monai.diffusion import InitialNoise
from flemme_monai.handlers import (
    RunSummary,
    SaveExampleRestorations,
    SaveExamples,
    SaveExampleSamples,
    examples,
    sampled_examples,
)
from flemme_monai.handlers.events import EpochEnd


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list:
    """The note and the rows of each picture that is drawn."""
    drawn: list = []
    for module in (examples, sampled_examples):
        sheet = module.example_grid

        def spy(note, rows, *tile, sheet=sheet):
            drawn.append((note, rows))
            return sheet(note, rows, *tile)

        monkeypatch.setattr(module, "example_grid", spy)
    return drawn


def with_examples(make_run, folder: Path, interval: int = 0, **options):
    return make_run(
        folder, handlers=lambda run: [SaveExamples(folder / "out", run.evaluator, "segmentation", interval)], **options
    )


def captions(rows) -> list[list[str]]:
    return [[tile.caption for tile in row] for row in rows]


def test_a_training_draws_three_cases_spread_over_the_validation(make_run, tmp_path, drawings):
    run = with_examples(make_run, tmp_path, epochs=1, validation=discs(12, 1))
    run.trainer.run()
    ((note, rows),) = drawings
    expected = ["label", "prediction, label in white"]
    assert captions(rows) == [[f"case_{i}: image", *expected] for i in (2, 6, 10)]
    assert note == f"validation cases at epoch 1, the best: val_mean_dice {run.evaluator.state.best_metric:.4g}"
    with Image.open(tmp_path / "out" / "examples.png") as picture:
        assert picture.size[0] > 3 * 150
        assert np.ptp(np.asarray(picture)) > 200


def test_cases_without_foreground_leave_their_place_to_the_next(make_run, tmp_path, drawings):
    cases = discs(12, 1)
    for i in (2, 3, 10, 11):
        cases[i]["label"] = torch.zeros_like(cases[i]["label"])
    with_examples(make_run, tmp_path, epochs=1, validation=cases).trainer.run()
    ((_, rows),) = drawings
    assert [row[0].caption for row in rows] == [f"case_{i}: image" for i in (4, 6, 10)]  # none after the tenth has some


def test_the_picture_is_that_of_the_best_validation(make_run, tmp_path, drawings, monkeypatch):
    run = make_run(tmp_path, epochs=3)
    handler = SaveExamples(tmp_path / "out", run.evaluator, "segmentation")
    handler.attach(run.trainer)
    forced = iter([0.2, 0.9, 0.1])

    def force(evaluator):
        evaluator.state.metrics["val_mean_dice"] = next(forced)

    run.evaluator._event_handlers[Events.EPOCH_COMPLETED].insert(1, (force, (run.evaluator,), {}))
    kept = []
    keep = SaveExamples.keep
    monkeypatch.setattr(SaveExamples, "keep", lambda *a: kept.append(keep(*a)) or kept[-1])
    run.trainer.run()
    assert run.evaluator.state.best_metric_epoch == 2
    ((note, _),) = drawings
    assert note == "validation cases at epoch 2, the best: val_mean_dice 0.9"
    assert handler._best == kept[3:6]


def test_a_run_with_examples_is_the_same_also_when_resumed(make_run, tmp_path):
    plain, drawn, resumed = (tmp_path / name for name in ("plain", "drawn", "resumed"))
    make_run(plain, epochs=3).trainer.run()
    with_examples(make_run, drawn, epochs=3).trainer.run()
    with_examples(make_run, resumed, epochs=1).trainer.run()
    with_examples(make_run, resumed, epochs=3, resume=True).trainer.run()
    expected, *others = (torch.load(d / "ckpt" / "last.pt", weights_only=True) for d in (plain, drawn, resumed))
    for state in others:
        assert state.keys() == expected.keys()
        assert all(torch.equal(state["network"][key], expected["network"][key]) for key in expected["network"])


def test_a_training_s_evolution_is_pictures_at_an_interval_and_an_animation(make_run, tmp_path, drawings):
    with_examples(make_run, tmp_path, interval=2, epochs=3).trainer.run()
    with_examples(make_run, tmp_path, interval=2, epochs=6, val_interval=2, resume=True).trainer.run()
    names = [path.name for path in sorted((tmp_path / "out" / "pictures").iterdir())]
    assert names == ["00002.png", "00004.png", "00006.png"]
    assert {note.split(",")[0] for note, _ in drawings} >= {f"validation cases at epoch {e}" for e in (2, 4, 6)}
    with Image.open(tmp_path / "out" / "evolution.gif") as animation:
        assert animation.n_frames == 3


def test_without_an_interval_there_is_no_evolution(make_run, tmp_path):
    with_examples(make_run, tmp_path, epochs=2).trainer.run()
    assert not {"pictures", "evolution.gif"} & {path.name for path in (tmp_path / "out").iterdir()}


def test_samples_of_an_evolution_are_those_of_the_network_as_it_is(tmp_path, drawings):
    network = Constant(0.75).train()
    torch.save(Constant(0.25).state_dict(), tmp_path / "model.pt")
    seen = []

    def inferer(noise, network, condition):
        seen.append((network.value.item(), network.training))
        return noise

    noise = InitialNoise(2, (1, 8, 8))
    handler = SaveExampleSamples(tmp_path, evaluator(2, network), inferer, noise, tmp_path / "model.pt", interval=1)
    handler.present(2)
    assert seen == [(0.75, False)]
    assert drawings[0][0].startswith("samples at epoch 2")
    assert network.training


def test_a_resumed_run_that_gets_no_better_leaves_the_picture(make_run, tmp_path, drawings):
    with_examples(make_run, tmp_path, epochs=1).trainer.run()
    state = torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)
    state["trainer"]["best_metric"] = 1.0
    torch.save(state, tmp_path / "ckpt" / "last.pt")
    with_examples(make_run, tmp_path, epochs=2, resume=True).trainer.run()
    assert len(drawings) == 1


@pytest.mark.parametrize("ending", [{"epochs": 2}, {"epochs": 9, "patience": 1}], ids=["last epoch", "early stop"])
def test_the_picture_is_there_before_the_last_epoch_is_saved(make_run, tmp_path, ending):
    run = make_run(tmp_path, **ending)
    SaveExamples(tmp_path / "out", run.evaluator, "segmentation").attach(run.trainer)
    values = iter([0.9] + [0.1] * 8)  # the first validation is the best
    run.evaluator._event_handlers[Events.EPOCH_COMPLETED].insert(
        1, (lambda evaluator: evaluator.state.metrics.update(val_mean_dice=next(values)), (run.evaluator,), {})
    )
    pictures = []
    run.trainer.register_events(*EpochEnd)
    run.trainer.add_event_handler(EpochEnd.SAVE, lambda: pictures.append((tmp_path / "out" / "examples.png").is_file()))
    run.trainer.run()
    assert pictures == [False, True]


def test_a_training_without_validation_draws_none(make_run, tmp_path):
    with_examples(make_run, tmp_path, epochs=1, val_interval=5).trainer.run()
    assert not (tmp_path / "out" / "examples.png").exists()


def test_the_summary_names_the_examples_first(make_run, tmp_path, capsys):
    run = make_run(
        epochs=1,
        handlers=lambda run: [
            RunSummary([tmp_path / "ckpt", tmp_path / "out"], run.evaluator),
            SaveExamples(tmp_path / "out", run.evaluator, "segmentation"),
        ],
    )
    run.trainer.run()
    best, first, *others = capsys.readouterr().out.strip().splitlines()
    assert best == f"best val_mean_dice {run.evaluator.state.best_metric:.3g} (epoch 1 of 1)"
    assert first == f"examples: {tmp_path / 'out' / 'examples.png'}"
    assert others[0] == "written:"
    assert not any("examples.png" in line for line in others)


def test_of_a_volume_the_slice_with_most_foreground_is_shown():
    handler = SaveExamples("out", None, "segmentation")
    label = torch.zeros(1, 4, 4, 6)
    label[..., 1, 2:4, 5] = 1
    pred = torch.stack([1 - label[0], label[0]])
    meta = {"filename_or_obj": "a.nii.gz"}
    output = {"image": MetaTensor(torch.arange(96.0).view(1, 4, 4, 6), meta=meta), "pred": pred, "label": label}
    example = handler.keep({"case": "a"}, output, 0)
    assert example.volume
    assert example.image.tolist() == output["image"][..., 5].tolist()
    assert example.pred.tolist() == example.label.tolist() == label[..., 5].tolist()


def test_classes_are_named_right_or_wrong(drawings):
    handler = SaveExamples("out", None, "classification")
    image = MetaTensor(torch.rand(1, 8, 8))
    cases = [
        handler.keep({"case": "x", "class_label": truth, "class_name": name}, {"image": image, "pred": pred}, 0)
        for truth, name, pred in [(0, "cat", torch.tensor([0.9, 0.1])), (1, "dog", torch.tensor([0.6, 0.4]))]
    ]
    (row,) = handler._rows(cases)
    assert [tile.caption for tile in row] == ["is cat, predicted cat", "is dog, predicted cat"]
    assert row[0].colour != row[1].colour


class Constant(torch.nn.Module):
    """A denoiser of one weight."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))


def sampled(handler, epoch: int, best: int, tmp_path: Path) -> None:
    """Let a handler draw at the end of a training in ``epoch``, whose best epoch was another."""
    handler._epoch = best
    handler.draw(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
    assert (tmp_path / "examples.png").is_file()


def evaluator(best: int, network: torch.nn.Module) -> SimpleNamespace:
    state = SimpleNamespace(key_metric_name="val_mse", best_metric=0.5, best_metric_epoch=best)
    return SimpleNamespace(state=state, network=network)


@pytest.mark.parametrize(("epoch", "value"), [(3, 0.25), (2, 0.75)])
def test_samples_are_those_of_the_best_weights(tmp_path, drawings, epoch, value):
    network = Constant(0.75).train()
    torch.save(Constant(0.25).state_dict(), tmp_path / "model.pt")
    noise = InitialNoise(6, (1, 8, 8), num_classes=2)
    asked = []

    def inferer(noise, network, condition):
        asked.append((condition.tolist(), network.value.item(), network.training))
        return noise * 0 + network.value

    handler = SaveExampleSamples(
        tmp_path, evaluator(2, network), inferer, noise, tmp_path / "model.pt", condition_key="class_label"
    )
    item = {"image": torch.zeros(1, 8, 8), "class_label": 1, "class_name": "dog"}
    handler._seen = [handler.keep(item, {}, 0)]
    before = torch.get_rng_state()
    sampled(handler, epoch, 2, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert asked == [([0, 1, 0, 1, 0, 1], value, False)]
    assert network.training
    assert network.value.item() == 0.75
    ((note, rows),) = drawings
    assert note == "samples at epoch 2, the best: val_mse 0.5"
    assert [row[0].caption for row in rows] == ["validation images", "samples of class 0", "samples of class dog"]
    assert [len(row) for row in rows] == [1, 3, 3]


def test_the_position_of_samples_is_that_of_validation_slices(tmp_path):
    asked = []

    def inferer(noise, network, condition):
        asked.extend(condition.tolist())
        return noise

    handler = SaveExampleSamples(
        tmp_path, evaluator(1, Constant()), inferer, InitialNoise(3, (1, 8, 8)), tmp_path / "no.pt", "slice"
    )
    handler._seen = [handler.keep({"image": torch.zeros(1, 8, 8), "slice": i}, {}, 0) for i in (4, 9)]
    sampled(handler, 1, 1, tmp_path)
    assert asked == [4, 9, 4]


def test_restorations_show_the_mean_of_the_samples(tmp_path, drawings):
    def inferer(image, network):
        return torch.cat([image * 0.5, image * 0], 1)

    handler = SaveExampleRestorations(tmp_path, evaluator(1, Constant()), inferer, tmp_path / "no.pt")
    image = torch.linspace(0, 1, 64).view(1, 8, 8)
    handler._seen = [handler.keep({"case": "a", "image": image, "label": image * 0.5}, {}, 0)]
    sampled(handler, 1, 1, tmp_path)
    ((_, (row,)),) = drawings
    assert [tile.caption for tile in row] == ["a: input", "target", "output", "error x 5"]
    assert np.array_equal(row[1].picture, row[2].picture)
    assert row[3].picture.max() == 0


def test_samples_wait_until_they_take_a_hundredth_of_the_time(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sampled_examples.time, "monotonic", lambda: now[0])

    def inferer(noise, network, condition):
        now[0] += 2.0
        return noise

    handler = SaveExampleSamples(
        tmp_path, evaluator(1, Constant()), inferer, InitialNoise(1, (1, 8, 8)), tmp_path / "no.pt"
    )
    assert not handler.due()
    now[0] += 301
    assert handler.due()
    sampled(handler, 1, 1, tmp_path)
    now[0] += 199
    assert not handler.due()
    now[0] += 2
    assert handler.due()


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="task is 'x'; expected 'segmentation', 'multi_label', 'reconstruction'"):
        SaveExamples("out", None, "x")
