"""Visitors: each sees only what is theirs, and what goes wrong is a note, after which the next run works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_nifti, write_picture

from flemme_monai.demo import session as session_module
from flemme_monai.demo.limits import Limits
from flemme_monai.demo.messages import UNEXPECTED, message
from flemme_monai.demo.runs import Sampling
from flemme_monai.demo.served import ServedBundle, bundles_to_serve
from flemme_monai.demo.session import Session, note_html, table_html

Serve = Callable[..., ServedBundle]


@pytest.fixture
def bundles(serve: Serve) -> dict[str, ServedBundle]:
    return {"sem_unet": serve("sem_unet")}


@pytest.fixture
def visitor(bundles: dict[str, ServedBundle], tmp_path: Path) -> Session:
    return Session(bundles, tmp_path, Limits())


def picture(tmp_path: Path, seed: int = 0) -> str:
    return str(write_picture(tmp_path / f"seed_{seed}.png", random_picture(seed, (32, 32))))


def run(visitor: Session) -> None:
    visitor.run(None, Sampling(), lambda share: None)


def test_a_broken_file_is_a_note_and_the_next_run_works(visitor: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(picture(tmp_path)).read_bytes()[:60])
    visitor.upload([str(broken)])
    assert visitor.failed
    assert "broken.png" in visitor.note
    assert visitor.pictures("axial", 0, 0.5, None) == []
    run(visitor)
    assert "there is no image" in visitor.note
    visitor.upload([picture(tmp_path)])
    run(visitor)
    assert not visitor.failed
    assert visitor.outcome is not None
    assert [caption for caption, _ in visitor.pictures("axial", 0, 0.5, None)] == ["image", "prediction"]


def test_notes_name_no_folder_of_the_server(visitor: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no gzip")
    visitor.upload([str(broken)])
    assert "broken.nii.gz" in visitor.note
    assert str(tmp_path) not in visitor.note


def test_two_visitors_do_not_see_each_other(bundles: dict[str, ServedBundle], tmp_path: Path) -> None:
    one, other = (Session(bundles, tmp_path, Limits()) for _ in range(2))
    one.upload([picture(tmp_path, 1)])
    assert other.pictures("axial", 0, 0.5, None) == []
    other.upload([picture(tmp_path, 2)])
    run(one)
    run(other)
    shown = [visitor.pictures("axial", 0, 0.5, None)[0][1] for visitor in (one, other)]
    assert (shown[0] != shown[1]).any()
    assert one.folder != other.folder
    one.close()
    assert not one.folder.exists()
    assert other.outcome is not None
    assert other.outcome.download is not None
    assert other.outcome.download.is_file()


def test_clear_forgets_the_image_and_removes_its_files(visitor: Session, tmp_path: Path) -> None:
    visitor.upload([picture(tmp_path)])
    run(visitor)
    assert list(visitor.folder.rglob("*.png"))
    visitor.clear()
    assert not list(visitor.folder.iterdir())
    assert (visitor.image, visitor.outcome, visitor.note) == (None, None, "")


def test_another_image_takes_the_last_result_away(visitor: Session, tmp_path: Path) -> None:
    visitor.upload([picture(tmp_path, 1)])
    run(visitor)
    visitor.upload([picture(tmp_path, 2)])
    assert visitor.outcome is None
    assert [caption for caption, _ in visitor.pictures("axial", 0, 0.5, None)] == ["image"]


def test_what_is_unexpected_is_logged_and_not_shown(
    visitor: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    visitor.upload([picture(tmp_path)])
    monkeypatch.setattr(session_module, "run_case", fail)
    run(visitor)
    assert visitor.note == UNEXPECTED
    assert "secret" in caplog.text


def test_no_markup_of_a_file_s_name_reaches_the_page(visitor: Session) -> None:
    visitor.note, visitor.failed = message(ValueError("<script>x</script>")), True
    assert "<script>" not in note_html(visitor)


def test_of_one_slice_the_result_is_seen_and_of_all_others_the_image(visitor: Session, tmp_path: Path) -> None:
    visitor.upload([str(write_nifti(tmp_path / "a.nii", np.random.RandomState(0).rand(32, 32, 5)))])
    visitor.run(3, Sampling(), lambda share: None)
    assert [len(visitor.pictures("axial", index, 0.5, None)) for index in (2, 3)] == [1, 2]
    assert len(visitor.pictures("coronal", 3, 0.5, None)) == 1
    assert (visitor.depth("axial"), visitor.first_index("axial"), visitor.first_index("coronal")) == (5, 3, 16)
    visitor.run(None, Sampling(), lambda share: None)
    assert [len(visitor.pictures("axial", index, 0.5, None)) for index in (2, 3)] == [2, 2]


def test_measures_and_table_are_html(visitor: Session, tmp_path: Path) -> None:
    visitor.upload([picture(tmp_path)])
    assert table_html(visitor.outcome) == ""
    run(visitor)
    assert "<td>" in table_html(visitor.outcome)
    assert "time" in note_html(visitor)


def test_without_a_data_set_the_cases_are_phantoms(visitor: Session) -> None:
    names = visitor.case_names()
    visitor.choose_case(names[0])
    assert not visitor.failed
    assert [caption for caption, _ in visitor.pictures("axial", 0, 0.5, None)] == ["image", "target"]


def test_a_data_set_of_another_kind_is_a_note(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    bundle = serve("sem_unet", tmp_path / "data")
    visitor = Session({"a": bundle}, tmp_path, Limits())
    assert visitor.case_names() == []
    assert visitor.failed


def test_a_folder_of_data_sets_gives_a_trained_bundle_its_own(tmp_path: Path) -> None:
    (folder,) = bundles_to_serve(["nuclei_hsem_unet"])
    (tmp_path / "nuclei").mkdir()
    assert ServedBundle(folder, tmp_path).dataset_dir == str(tmp_path / "nuclei")
    assert ServedBundle(folder, tmp_path / "nuclei").dataset_dir == str(tmp_path / "nuclei")


def test_all_trained_bundles_are_served_by_default_and_untrained_ones_refused() -> None:
    assert "nuclei_hsem_unet" in [folder.name for folder in bundles_to_serve([])]
    with pytest.raises(ValueError, match=r"has no models/model.pt; expected a trained bundle"):
        bundles_to_serve(["sem_unet"])
    with pytest.raises(ValueError, match="two bundles are called nuclei_hsem_unet"):
        bundles_to_serve(["nuclei_hsem_unet", "nuclei_hsem_unet"])


def test_one_picture_for_every_panel_of_the_page(visitor: Session, tmp_path: Path) -> None:
    visitor.upload([picture(tmp_path)])
    run(visitor)
    shapes = {picture.shape for _, picture in visitor.pictures("axial", 0, 0.5, None)}
    assert len(shapes) == 1
    assert all(np.issubdtype(picture.dtype, np.uint8) for _, picture in visitor.pictures("axial", 0, 0.5, None))
