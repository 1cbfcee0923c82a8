"""The page itself, in gradio: its parts, and which of them a visitor's session fills."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from ..visualize.slices import OPACITY
from .limits import Limits
from .runs import Sampling
from .served import ServedBundle
from .session import Session, note_html, table_html
from .uploads import UPLOAD_SUFFIXES
from .views import PLANES, legend

PANELS = 4
IDLE_SECONDS = 3600
FONTS = ["system-ui", "sans-serif"]


def launch_settings() -> dict[str, Any]:
    """What :meth:`gradio.Blocks.launch` gets, whatever the address: no link to the outside and nothing of the disk."""
    css = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    theme = gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])
    return {
        "theme": theme,
        "css": css,
        "share": False,
        "allowed_paths": [],
        "footer_links": [],
        "enable_monitoring": False,
        "ssr_mode": False,
        "quiet": True,
    }


class Page:
    """The parts of the page, and what is done when they are touched.

    Args:
        bundles: those that are served, by name.
        root: where visitors' folders are made.
        limits: of uploads and runs.
    """

    def __init__(self, bundles: Mapping[str, ServedBundle], root: Path, limits: Limits) -> None:
        self.bundles, self.root, self.limits = bundles, root, limits
        with gr.Blocks(
            title="flemme_monai", analytics_enabled=False, fill_width=True, delete_cache=(600, IDLE_SECONDS)
        ) as self.blocks:
            self.session = gr.State(None, time_to_live=IDLE_SECONDS, delete_callback=_close)
            gr.Markdown(
                "# flemme_monai\nMedical image analysis by trained bundles. For research, not for clinical use."
            )
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    self._choices()
                with gr.Column(scale=3, min_width=320):
                    self._results()
            self._wire()

    def _choices(self) -> None:
        names = list(self.bundles)
        self.bundle = gr.Dropdown(names, value=names[0], label="bundle", elem_id="bundle", filterable=len(names) > 8)
        self.about = gr.Markdown(elem_id="about")
        with gr.Group() as self.input_parts:
            self.case = gr.Dropdown([], label="case", elem_id="case")
            self.upload = gr.File(
                label="or an upload: PNG, JPEG, TIFF, NIfTI, or the DICOM files of a series",
                file_count="multiple",
                file_types=list(UPLOAD_SUFFIXES),
                height=120,
                elem_id="upload",
            )
            self.one_slice = gr.Checkbox(True, label="only the axial slice that is shown", elem_id="one_slice")
            self.photo = gr.Slider(0, 1, value=0, step=0.05, label="photo of a screen", elem_id="photo", visible=False)
        with gr.Group(visible=False) as self.sampling_parts:
            self.label = gr.Dropdown([], label="class", elem_id="class")
            self.count = gr.Slider(1, self.limits.samples, value=4, step=1, label="samples", elem_id="samples_count")
            self.seed = gr.Number(0, precision=0, minimum=0, label="seed", elem_id="seed")
            self.guidance = gr.Slider(0, 8, value=1, step=0.1, label="guidance", elem_id="guidance")
            self.steps = gr.Slider(1, self.limits.steps, value=25, step=1, label="steps", elem_id="steps")
        with gr.Row():
            self.run = gr.Button("Run", variant="primary", elem_id="run", min_width=100)
            self.clear = gr.Button("Clear", elem_id="clear", min_width=100)
        self.note = gr.HTML(elem_id="note", min_height=70)
        self.download = gr.DownloadButton("Download the prediction", visible=False, elem_id="download")

    def _results(self) -> None:
        with gr.Row(equal_height=False):
            self.panels = [
                gr.Image(visible=False, format="png", buttons=["fullscreen"], min_width=180, elem_id=f"panel_{i}")
                for i in range(PANELS)
            ]
        self.legend = gr.HTML(elem_id="legend")
        with gr.Row(visible=False, elem_id="view") as self.view_parts:
            self.plane = gr.Radio(PLANES, value=PLANES[0], label="plane", elem_id="plane", min_width=240)
            self.index = gr.Slider(0, 1, value=0, step=1, label="slice", elem_id="slice", min_width=240)
        with gr.Row(visible=False) as self.mask_parts:
            self.opacity = gr.Slider(0, 1, value=OPACITY, step=0.05, label="opacity", elem_id="opacity", min_width=240)
            self.shown = gr.CheckboxGroup([], label="classes", elem_id="classes", min_width=240)
        self.table = gr.HTML(elem_id="table")
        self.probabilities = gr.Label(visible=False, label="class", elem_id="probabilities")
        with gr.Row(visible=False) as self.sample_parts:
            self.samples = gr.Image(label="samples", format="png", buttons=["fullscreen"], elem_id="samples")
            with gr.Column():
                self.step_picture = gr.Image(
                    label="denoising", format="png", buttons=["fullscreen"], elem_id="denoising"
                )
                self.step = gr.Slider(1, 2, value=1, step=1, label="denoising step", elem_id="step")

    def _wire(self) -> None:
        view = [self.plane, self.index, self.opacity, self.shown]
        everything = [
            self.session, self.note, self.download, *self.panels, self.legend, self.view_parts, *view, self.mask_parts,
            self.table, self.probabilities, self.sample_parts, self.samples, self.step_picture, self.step,
            self.one_slice, self.photo,
        ]  # fmt: skip
        choices = [self.about, self.case, self.upload, self.input_parts, self.sampling_parts, self.label, self.guidance]
        quick = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
        reading = {"concurrency_limit": 4, "api_visibility": "private"}

        def started(session: Session | None) -> Session:
            return Session(self.bundles, self.root, self.limits) if session is None else session

        def choose_bundle(session: Session | None, name: str) -> list[Any]:
            session = started(session)
            session.choose_bundle(name)
            return [*self._choices_of(session), *self._everything(session)]

        def choose_case(session: Session | None, name: str | None) -> list[Any]:
            session = started(session)
            if name is not None:
                session.choose_case(name)
            return [None, *self._everything(session)]

        def upload(session: Session | None, files: list[str] | None) -> list[Any]:
            session = started(session)
            session.upload(files or [])
            return [None, *self._everything(session)]

        def run(
            session: Session | None, index: int, one_slice: bool, label: str | None, count: int, seed: int,
            guidance: float, steps: int, plane: str, photo: float, progress: gr.Progress = gr.Progress(),  # noqa: B008
        ) -> list[Any]:  # fmt: skip
            session = started(session)
            names = session.bundle.class_names
            sampling = Sampling(
                names.index(label) if label in names else None, int(count), int(seed or 0), float(guidance), int(steps)
            )
            progress(0, desc="running")
            chosen = int(index) if one_slice and plane == "axial" else None
            strength = float(photo) if session.can_be_photographed else 0.0
            session.run(chosen, sampling, lambda share: progress(share, desc="running"), strength)
            return self._everything(session)

        def clear(session: Session | None) -> list[Any]:
            session = started(session)
            session.clear()
            return [*self._choices_of(session), *self._everything(session)]

        def look(session: Session | None, plane: str, index: int, opacity: float, shown: list[str]) -> list[Any]:
            return self._pictures(started(session), plane, index, opacity, shown)

        def turn(session: Session | None, plane: str, opacity: float, shown: list[str]) -> list[Any]:
            session = started(session)
            index = session.first_index(plane)
            slider = gr.update(maximum=max(session.depth(plane) - 1, 1), value=index)
            return [slider, *self._pictures(session, plane, index, opacity, shown)]

        def denoise(session: Session | None, step: int) -> Any:
            steps = session.outcome.steps if session is not None and session.outcome is not None else []
            return steps[min(int(step), len(steps)) - 1] if steps else None

        self.blocks.load(choose_bundle, [self.session, self.bundle], [*choices, *everything], **quick)
        self.bundle.input(choose_bundle, [self.session, self.bundle], [*choices, *everything], **reading)
        self.case.input(choose_case, [self.session, self.case], [self.upload, *everything], **reading)
        self.upload.upload(upload, [self.session, self.upload], [self.case, *everything], **reading)
        self.run.click(
            run,
            [self.session, self.index, self.one_slice, self.label, self.count, self.seed, self.guidance, self.steps,
             self.plane, self.photo],
            everything, concurrency_limit=1, concurrency_id="network", show_progress_on=[self.note],
            api_visibility="private",
        )  # fmt: skip
        for button in (self.clear.click, self.upload.clear):
            button(clear, [self.session], [*choices, *everything], **quick)
        for part in (self.index, self.opacity, self.shown):
            part.input(look, [self.session, *view], self.panels, trigger_mode="always_last", **quick)
        self.plane.input(
            turn, [self.session, self.plane, self.opacity, self.shown], [self.index, *self.panels], **quick
        )
        self.step.input(denoise, [self.session, self.step], self.step_picture, trigger_mode="always_last", **quick)

    def _choices_of(self, session: Session) -> list[Any]:
        """Updates of what is chosen from, for the session's bundle."""
        bundle, names = session.bundle, session.case_names()
        generates, classes = bundle.generates, bundle.class_names
        return [
            f"{bundle.title[:1].upper()}{bundle.title[1:]} ({bundle.spatial_dims}D).",
            gr.update(choices=names, value=None),
            None,
            gr.update(visible=not generates),
            gr.update(visible=generates),
            gr.update(choices=["all in turn", *classes], value="all in turn", visible=bool(generates and classes)),
            gr.update(visible=bool(generates and classes)),
        ]

    def _everything(self, session: Session) -> list[Any]:
        """Updates of all that shows a session."""
        outcome, plane = session.outcome, PLANES[0]
        index = session.first_index(plane)
        scene = session.seen(plane, index)
        volume = session.image is not None and session.image.is_volume
        names = {} if scene is None else dict(scene.names)
        masks = scene is not None and any(panel.masks for panel in scene.panels)
        steps = outcome.steps if outcome else []
        sampled = outcome is not None and outcome.samples is not None
        return [
            session,
            note_html(session),
            gr.update(value=outcome.download if outcome else None, visible=bool(outcome and outcome.download)),
            *self._pictures(session, plane, index, OPACITY, list(names.values())),
            legend(names) if masks else "",
            gr.update(visible=volume),
            plane,
            gr.update(maximum=max(session.depth(plane) - 1, 1), value=index),
            OPACITY,
            gr.update(choices=list(names.values()), value=list(names.values())),
            gr.update(visible=masks),
            table_html(outcome),
            gr.update(
                value=outcome.probabilities if outcome else None, visible=bool(outcome and outcome.probabilities)
            ),
            gr.update(visible=sampled),
            outcome.samples if outcome else None,
            steps[-1] if steps else None,
            gr.update(maximum=max(len(steps), 2), value=max(len(steps), 1), visible=len(steps) > 1),
            gr.update(visible=volume and session.bundle.spatial_dims == 2),
            gr.update(visible=session.can_be_photographed, **({"value": 0} if session.image is None else {})),
        ]

    def _pictures(self, session: Session, plane: str, index: int, opacity: float, shown: list[str]) -> list[Any]:
        chosen = [label for label, name in session.bundle.foreground.items() if name in shown]
        made = session.pictures(plane, index, opacity, chosen)
        updates = [gr.update(value=picture, label=caption, visible=True) for caption, picture in made]
        return [*updates, *[gr.update(value=None, visible=False)] * (PANELS - len(updates))]


def _close(session: Session | None) -> None:
    if session is not None:
        session.close()


def serve(
    bundles: Mapping[str, ServedBundle], root: Path, limits: Limits, address: str, port: int | None, wait: bool = True
) -> str:
    """Serve the page until the program is interrupted.

    Args:
        bundles: by name.
        root: for files of visitors, which are removed with them.
        limits: of uploads and runs.
        address: to listen at.
        port: to listen at; None for the first free one from 7860.
        wait: false returns at once, while a thread serves.

    Returns:
        The page's address.
    """
    page = Page(bundles, root, limits).blocks.queue(max_size=32)
    _, url, _ = page.launch(
        server_name=address,
        server_port=port,
        max_file_size=limits.bytes,
        prevent_thread_lock=True,
        **launch_settings(),
    )
    print(f"the page is at {url}; Ctrl-C ends it", flush=True)
    if wait:
        page.block_thread()
    return url
