"""The page in a browser: choose, run, look, move, break, go on; two visitors; and nothing of the disk.

It needs gradio and playwright (`pip install -r requirements-demo.txt playwright`) and Debian's chromium.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import write_nifti, write_picture
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
MISSING = [name for name in ("gradio", "playwright") if find_spec(name) is None] + ([] if CHROMIUM else ["chromium"])
SECONDS = 120
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def cells(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (128, 128) of bright discs, as nuclei look, and their mask."""
    random = np.random.RandomState(seed)
    grid = np.mgrid[:128, :128]
    mask = np.zeros((128, 128), bool)
    for centre in random.randint(15, 113, (6, 2)):
        mask |= ((grid - centre[:, None, None]) ** 2).sum(0) < 80
    return (mask * 150 + random.randint(5, 20, mask.shape)).astype(np.uint8), mask.astype(np.uint8) * 255


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo that serves pictures of discs to bundles with weights."""
    data = tmp_path_factory.mktemp("data")
    for seed in range(3):
        image, mask = cells(seed)
        write_picture(data / "images" / f"case_{seed}.png", image)
        write_picture(data / "masks" / f"case_{seed}.png", mask)
    words = ["demo", "nuclei_hsem_unet", "mednist_ddpm_unet", "--dataset_dir", str(data), "--max_mb", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = (data / "log.txt").open("w+", encoding="utf-8")
    server = subprocess.Popen([sys.executable, "-m", "flemme_monai", *words], cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        for _ in range(2 * SECONDS):
            said = (data / "log.txt").read_text(encoding="utf-8")
            if "the page is at" in said or server.poll() is not None:
                break
            time.sleep(1)
        assert "the page is at " in said, said
        yield said.partition("the page is at ")[2].partition(";")[0]
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with visit(browser, address) as page:
        yield page


def visit(browser: Any, address: str) -> Any:
    """A visitor's page, once it is filled."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(address)
    page.wait_for_function("document.querySelector('#about')?.innerText.length > 5")
    return page


def choose_case(page: Any, name: str) -> None:
    page.locator("#case input").click()
    page.get_by_role("option", name=name).click()
    page.wait_for_selector("#panel_1 img")


def run(page: Any) -> None:
    page.locator("#run").click()
    page.wait_for_selector("#note .measures")
    page.wait_for_selector("#panel_1 img")


def pixels(page: Any, part: str) -> np.ndarray:
    """What a picture of the page shows, (H, W, 3)."""
    content = page.request.get(page.locator(f"{part} img").first.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def upload(page: Any, path: Path) -> None:
    page.locator("#upload input[type=file]").set_input_files(str(path))


def test_a_run_draws_its_mask_over_the_image(page: Any) -> None:
    choose_case(page, "case_1")
    run(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    mask = np.asarray(Image.open(download.value.path())) > 0
    assert mask.any()
    image, found = pixels(page, "#panel_0"), pixels(page, "#panel_1")
    factor = image.shape[0] // mask.shape[0]
    assert ((image != found).any(-1) == mask.repeat(factor, 0).repeat(factor, 1)).all()
    assert "Dice" in page.locator("#note").inner_text()
    assert "nucleus" in page.locator("#table").inner_text()


def test_opacity_and_the_switch_of_a_class_change_the_overlay(page: Any) -> None:
    choose_case(page, "case_1")
    run(page)
    before = page.locator("#panel_1 img").first.get_attribute("src")
    page.locator("#opacity input[type=number]").fill("1")
    page.locator("#opacity input[type=number]").press("Tab")
    page.wait_for_function("b => document.querySelector('#panel_1 img').getAttribute('src') != b", arg=before)
    full = page.locator("#panel_1 img").first.get_attribute("src")
    page.locator("#classes input[type=checkbox]").click()
    page.wait_for_function("b => document.querySelector('#panel_1 img').getAttribute('src') != b", arg=full)
    assert (pixels(page, "#panel_0") == pixels(page, "#panel_1")).all()


def test_the_network_gets_a_photograph_of_the_screen(page: Any) -> None:
    choose_case(page, "case_1")
    run(page)
    clean, source = pixels(page, "#panel_0"), page.locator("#panel_0 img").first.get_attribute("src")
    page.locator("#photo input[type=number]").fill("0.8")
    page.locator("#photo input[type=number]").press("Tab")
    page.locator("#run").click()
    page.wait_for_function("b => document.querySelector('#panel_0 img').getAttribute('src') != b", arg=source)
    assert np.abs(pixels(page, "#panel_0").astype(int) - clean).mean() > 5
    assert "Dice" in page.locator("#note").inner_text()


def test_the_slider_moves_through_an_uploaded_volume(page: Any, tmp_path: Path) -> None:
    volume = np.stack([cells(seed)[0] for seed in range(4)], -1)
    upload(page, write_nifti(tmp_path / "volume.nii.gz", volume))
    page.wait_for_selector("#slice input[type=range]")
    before = pixels(page, "#panel_0")
    source = page.locator("#panel_0 img").first.get_attribute("src")
    page.locator("#slice input[type=range]").press("ArrowLeft")
    page.wait_for_function("b => document.querySelector('#panel_0 img').getAttribute('src') != b", arg=source)
    assert (pixels(page, "#panel_0") != before).any()


def test_a_broken_file_gives_a_message_and_the_next_run_works(page: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(write_picture(tmp_path / "whole.png", cells(0)[0]).read_bytes()[:200])
    upload(page, broken)
    page.wait_for_selector("#note .error")
    said = page.locator("#note").inner_text()
    assert "broken.png" in said
    assert "/" not in said.partition(":")[0]
    page.locator("#clear").click()
    page.wait_for_selector("#note .error", state="detached")
    choose_case(page, "case_0")
    run(page)


def test_clear_resets_the_page(page: Any) -> None:
    choose_case(page, "case_1")
    run(page)
    page.locator("#clear").click()
    page.wait_for_selector("#panel_0", state="hidden")
    page.wait_for_selector("#download", state="hidden")
    assert page.locator("#case input").input_value() == ""


def test_two_visitors_see_only_what_is_theirs(browser: Any, address: str) -> None:
    with visit(browser, address) as one, visit(browser, address) as other:
        choose_case(one, "case_1")
        assert other.locator("#panel_0 img").count() == 0
        choose_case(other, "case_2")
        run(one)
        run(other)
        assert (pixels(one, "#panel_0") != pixels(other, "#panel_0")).any()


def test_a_generator_shows_its_samples_and_the_denoising(page: Any) -> None:
    page.locator("#bundle input").click()
    page.get_by_role("option", name="mednist_ddpm_unet").click()
    page.wait_for_selector("#steps")
    page.locator("#steps input[type=number]").fill("3")
    page.locator("#steps input[type=number]").press("Tab")
    page.locator("#samples_count input[type=number]").fill("1")
    page.locator("#samples_count input[type=number]").press("Tab")
    page.locator("#run").click()
    page.wait_for_selector("#samples img")
    last = page.locator("#denoising img").first.get_attribute("src")
    page.locator("#step input[type=range]").press("ArrowLeft")
    page.wait_for_function("b => document.querySelector('#denoising img').getAttribute('src') != b", arg=last)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_page(browser: Any, address: str, width: int, scheme: str) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.goto(address)
        page.wait_for_selector("#run")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("document.body.classList.contains('dark')")
        assert dark == (scheme == "dark")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "README.md", "flemme_monai/cli.py", "bundles/nuclei_hsem_unet/LICENSE"]
)
def test_no_file_of_the_disk_can_be_read(address: str, path: str) -> None:
    full = path if path.startswith("/") else str(ROOT / path)
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address.rstrip('/')}{route}{full}")
        assert refused.value.code in (403, 404)


def test_a_request_cannot_name_a_file_of_the_disk_as_its_upload(address: str, page: Any, tmp_path: Path) -> None:
    """What the page sends for an upload, sent with the path of another file."""
    secret = write_picture(tmp_path / "secret.png", cells(0)[0])
    sent: list[dict[str, Any]] = []
    page.on("request", lambda r: sent.append(json.loads(r.post_data)) if r.url.endswith("/queue/join?") else None)
    upload(page, write_picture(tmp_path / "mine.png", cells(1)[0]))
    page.wait_for_selector("#panel_0 img")
    (body,) = [body for body in sent if "mine.png" in json.dumps(body)]
    before = pixels(page, "#panel_0")
    text = json.dumps(body)
    own = next(item["path"] for part in body["data"] if isinstance(part, list) for item in part)
    forged = json.loads(text.replace(json.dumps(own)[1:-1], str(secret)))
    page.request.post(f"{address.rstrip('/')}/gradio_api/queue/join?", data=forged)
    time.sleep(3)
    page.locator("#run").click()
    page.wait_for_selector("#note .measures")
    assert (pixels(page, "#panel_0") == before).all()


def test_an_upload_that_is_too_large_is_refused(address: str) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        + b"0" * (3 << 20)
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{address.rstrip('/')}/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 413
