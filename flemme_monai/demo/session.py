"""What one visitor has chosen and sees; nothing of it is shared with another."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from ..data.files import image_stem
from .limits import Limits
from .messages import message
from .runs import Outcome, Sampling, preview, run_case, run_generator
from .served import Case, OnProgress, ServedBundle
from .uploads import take_upload
from .views import Scene, pictures


class Session:
    """The choices, images and results of a visitor, with a folder of their own for files.

    Args:
        bundles: those that are served, by name.
        root: where the folder is made.
        limits: of uploads and runs.
    """

    def __init__(self, bundles: Mapping[str, ServedBundle], root: Path, limits: Limits) -> None:
        self.bundles, self.limits = bundles, limits
        self.folder = Path(tempfile.mkdtemp(dir=root, prefix="visitor_"))
        self.bundle = next(iter(bundles.values()))
        self.clear()

    def clear(self) -> None:
        """Forget the image and the results, and remove their files; the bundle stays."""
        for path in self.folder.iterdir():
            shutil.rmtree(path)
        self.case: Case | None = None
        self.image: Scene | None = None
        self.outcome: Outcome | None = None
        self.index: int | None = None  # the one slice of a volume that the outcome is of
        self.note, self.failed = "", False

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def choose_bundle(self, name: str) -> None:
        """Take another bundle, without the image that was chosen for the last one."""
        self.clear()
        self.bundle = self.bundles[name]

    def case_names(self) -> list[str]:
        """The cases to choose from; without any, :attr:`note` says why."""
        names: list[str] = []

        def read() -> None:
            names.extend(self.bundle.cases)

        self._try(read)
        return names

    def choose_case(self, name: str) -> None:
        """Take a case of the data set."""
        self._new_image(lambda: self.bundle.cases[name])

    def upload(self, files: Sequence[str]) -> None:
        """Take an image that was uploaded."""

        def take() -> Case:
            path = take_upload(files, self.folder / "upload", self.limits)
            return {"image": str(path), "case": image_stem(path)}

        self._new_image(take)

    def run(self, index: int | None, sampling: Sampling, on_progress: OnProgress, photo: float = 0.0) -> None:
        """Predict the image that was chosen, or sample.

        Args:
            index: the axial slice of a volume that a 2D network sees; None for all.
            sampling: of a generator.
            on_progress: takes the share that is done, from 0 to 1.
            photo: strength of a photograph of the image on a screen; 0 for none.
        """
        self.outcome, self.index, self.note, self.failed = None, None, "", False
        self._try(lambda: self._run(index, sampling, on_progress, photo))

    def _run(self, index: int | None, sampling: Sampling, on_progress: OnProgress, photo: float) -> None:
        if self.bundle.generates:
            self.outcome = run_generator(self.bundle, sampling, self.limits, on_progress)
            return
        if self.case is None or self.image is None:
            raise ValueError("there is no image; expected a case or an upload: choose one")
        results = self.folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        self.outcome = run_case(self.bundle, self.case, index, results, self.limits, on_progress, photo)
        self.index = index if self.image.is_volume and self.bundle.spatial_dims == 2 else None

    def seen(self, plane: str, index: int) -> Scene | None:
        """What there is to see of a slice: what came of the run, beyond the one slice that it was of the image."""
        result = None if self.outcome is None else self.outcome.scene
        beyond = self.index is not None and (plane, index) != ("axial", self.index)
        return self.image if result is None or beyond else result

    @property
    def can_be_photographed(self) -> bool:
        """Whether the image is a picture, of which the bundle says what is in it."""
        kinds = ("segmentation", "classification")
        return self.image is not None and not self.image.is_volume and self.bundle.kind in kinds

    def depth(self, plane: str) -> int:
        """The number of slices of a plane."""
        return 1 if self.image is None else self.image.depth(plane)

    def first_index(self, plane: str) -> int:
        """The slice that a plane opens at."""
        if self.index is not None and plane == "axial":
            return self.index
        scene = self.seen(plane, -1)
        return 0 if scene is None else scene.first_index(plane)

    def pictures(
        self, plane: str, index: int, opacity: float, shown: Collection[int] | None
    ) -> list[tuple[str, np.ndarray]]:
        """The captions and pictures to show, none without an image; see :func:`flemme_monai.demo.views.pictures`."""
        scene = self.seen(plane, index)
        return [] if scene is None else pictures(scene, plane, index, opacity, shown)

    def _new_image(self, choose: Callable[[], Case]) -> None:
        self.clear()

        def read() -> None:
            case = choose()
            self.image = preview(self.bundle, case)
            self.case = case

        self._try(read)

    def _try(self, action: Callable[[], None]) -> None:
        """Do something; what goes wrong becomes a note."""
        try:
            action()
        except Exception as error:  # the page goes on serving, whatever a file or a network does
            self.note, self.failed = message(error, self._private_folders()), True

    def _private_folders(self) -> list[Path]:
        data = self.bundle.dataset_dir
        return [self.folder / "upload", self.folder, self.bundle.folder, *([Path(data)] if data else [])]


def note_html(session: Session) -> str:
    """HTML of what went wrong, or of how the run went."""
    if session.note:
        kind = "error" if session.failed else "info"
        return f'<div class="note {kind}" role="alert">{escape(session.note)}</div>'
    if session.outcome is None:
        return ""
    entries = {"time": f"{session.outcome.seconds:.2f} s", **session.outcome.measures}
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in entries.items())
    return f'<dl class="measures">{cells}</dl>'


def table_html(outcome: Outcome | None) -> str:
    """HTML of the table of classes; empty without one."""
    if outcome is None or outcome.table is None:
        return ""
    header, rows = outcome.table
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="classes"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
