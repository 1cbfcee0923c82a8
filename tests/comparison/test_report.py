"""The page of a comparison needs no other file, sorts, and fits a telephone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flemme_monai.commands import report
from flemme_monai.comparison.figures import write_figures
from flemme_monai.comparison.report import html_table

CHROMIUM = shutil.which("chromium")
MISSING = [] if find_spec("playwright") and CHROMIUM else ["playwright or chromium"]


@pytest.fixture
def page(hierarchical_wins, tmp_path: Path) -> Path:
    hierarchical_wins.about["failed"] = ["training of sem_<cnn> failed"]
    hierarchical_wins.write(tmp_path)
    write_figures(hierarchical_wins, tmp_path, [])
    assert report.main([str(tmp_path)]) == 0
    return tmp_path / "report.html"


def test_the_page_holds_all_that_it_shows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', text) == []
    assert text.count("<img ") == 5
    assert "flemme-monai compare --output DIR" in text
    assert "training of sem_&lt;cnn&gt; failed" in text
    assert "1 thread of x86_64" in text
    assert "mean over encoders: dice +0.0" in text
    for title in ("Results", "Figures", "Differences", "Ranks", "Convergence", "Runs", "How it was made"):
        assert f">{title}</h2>" in text


def test_the_page_may_be_elsewhere_and_made_of_a_copy_of_the_tables(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in [*page.parent.glob("*.csv"), *page.parent.glob("*.png"), page.parent / "comparison.json"]:
        shutil.copy(path, copy)
    assert report.main([str(copy), "--page", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == page.read_text(encoding="utf-8").replace(
        page.parent.name, "copy"
    )


def test_a_cell_sorts_by_its_number_and_not_by_its_words() -> None:
    text = html_table(
        [{"bundle": "a", "dice": "0.5 ± 0.1"}, {"bundle": "b", "dice": ""}], [{"dice": 0.5}, {"dice": None}]
    )
    assert '<td class="number" data-value="0.5">0.5 ± 0.1</td>' in text
    assert '<td class="number" data-value=""></td>' in text
    assert "<td>a</td>" in text
    assert html_table([]) == ""


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_click_sorts_and_the_page_is_not_wider_than_the_window(browser: Any, page: Path, width: int) -> None:
    shown = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    shown.goto(page.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    column = shown.locator("table").first.locator("tbody td:first-child")
    assert column.first.inner_text() == "sem_unet"
    head = shown.locator("table").first.locator("th button", has_text=re.compile("^dice$"))
    head.click()
    head.click()
    assert column.first.inner_text() == "hsem_unet"
    assert shown.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
