"""A comparison as one page of HTML that needs no other file: tables that sort, figures, commands, environment."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .analysis import ALL, differences, summary
from .results import Results
from .tables import all_differences, difference_note, interval_rows, plus_minus, rank_line, words

FIGURES = {  # by the beginnings of their names
    "comparison": "Quality over the time of a training step, of an image, and over memory; bars: deviation over seeds.",
    "differences": "Differences with their 95% intervals over trainings and cases.",
    "curves": "Validation while training: mean and range over runs.",
    "cases": "Every test case, the mean over its seeds; boxes: median and quartiles.",
    "ranks": "Critical difference: what a red bar joins does not differ.",
    "panel": "The same test cases of every bundle.",
}
LONG = 40  # letters from which on a cell has several lines


def report(folder: Path) -> str:
    """The page of a comparison.

    Args:
        folder: the ``--output`` of ``flemme-monai compare``, or a copy of its CSV files, figures and
            ``comparison.json``.

    Returns:
        The HTML.

    Raises:
        FileNotFoundError: If the folder holds no comparison.
    """
    results = Results.read(folder)
    sections = {
        "Results": _results(results),
        "Figures": _figures(folder),
        "Differences": _differences(results),
        "Ranks": "".join(f"<p>{escape(line)}</p>" for data in results.data if (line := rank_line(results, data))),
        "Convergence": html_table(interval_rows(results)),
        "Runs": html_table([_run_words(row) for row in results.runs], results.runs),
        "How it was made": _made(results),
    }
    sections = {title: content for title, content in sections.items() if content}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in sections)
    body = "".join(f'<h2 id="{_anchor(title)}">{title}</h2>{content}' for title, content in sections.items())
    room = Path(__file__).parent
    style, script = ((room / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    title = escape(folder.resolve().name)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>"
        f"<h1>Comparison: {title}</h1>{_head(results)}<nav>{links}</nav>{body}<script>{script}</script></body></html>\n"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _head(results: Results) -> str:
    """What was run, and what it says in a sentence for each data set."""
    about = results.about
    done, planned = about["runs"]
    state = f"{done} of {planned} runs are finished." if done < planned else f"{done} runs."
    lines = [f"<p>{escape(about['date'])}; {state}</p>"]
    if about["failed"]:
        failed = "".join(f"<li>{escape(message)}</li>" for message in about["failed"])
        lines.append(f'<div class="failed"><p>Failed:</p><ul>{failed}</ul></div>')
    for data in results.data:
        metric = results.metrics[0]
        for row in differences(results, data, metric, about["baseline"], about["test"]):
            if row.label == ALL:
                interval = row.found.interval
                lines.append(
                    f"<p>{escape(data + ': ' if data else '')}hierarchical minus plain, mean over encoders: {metric} "
                    f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}], {row.relative:+.2f}%: "
                    f"<strong>{escape(row.verdict)}</strong>.</p>"
                )
    return "".join(lines)


def _results(results: Results) -> str:
    rows = summary(results)
    note = "<p>Mean ± deviation over seeds.</p>" if any(row["seeds"] > 1 for row in rows) else ""
    return note + html_table([plus_minus(row, results.metrics) for row in rows], rows)


def _differences(results: Results) -> str:
    rows = all_differences(results, results.about["baseline"], results.about["test"])
    if not rows:
        return ""
    shown = [{name: words(name, value, name in _EXACT) for name, value in row.items()} for row in rows]
    return f"<p>{escape(difference_note(results))}</p>{html_table(shown, rows)}"


_EXACT = ("value", "value against", "difference", "low", "high", "p", "p (Holm)")


def _run_words(row: Mapping[str, Any]) -> dict[str, str]:
    """A run for readers; the commit by its first letters."""
    names = [name for name in row if name not in ("architecture", "encoder") and (name != "data" or row["data"])]
    cells = {name: words(name, row[name]) for name in names}
    for name in ("fold", "seed", "epochs"):
        cells[name] = "" if row.get(name) is None else str(row[name])
    return {**cells, "commit": str(row.get("commit") or "")[:10]}


def _figures(folder: Path) -> str:
    parts = []
    for name, caption in FIGURES.items():
        for path in sorted([*folder.glob(f"{name}.png"), *folder.glob(f"{name}_*.png")]):
            data = path.stem.partition("_")[2]
            text = escape(f"{data}: {caption}" if data else caption)
            content = base64.b64encode(path.read_bytes()).decode()
            picture = f'<img alt="{text}" src="data:image/png;base64,{content}">'
            parts.append(f"<figure>{picture}<figcaption>{text}</figcaption></figure>")
    return "".join(parts)


def _made(results: Results) -> str:
    """The command, the environment, the splits and the settings."""
    about = results.about
    environment = about["environment"]
    versions = [{"package": name, "version": version} for name, version in environment["versions"].items()]
    facts = [f"commit {environment.get('commit') or 'unknown'}", environment["machine"], environment.get("system", "")]
    settings = json.dumps(about["settings"], indent=1)
    splits = [
        {"split": name, **{k: str(v) for k, v in parts.items() if k != "data_set"}}
        for name, parts in about["splits"].items()
    ]
    return (
        f"<pre>{escape(about['command'])}</pre>"
        f"<ul>{''.join(f'<li>{escape(fact)}</li>' for fact in facts if fact)}</ul>{html_table(versions)}"
        + (f"<p>Cases of each part:</p>{html_table(splits)}" if splits else "")
        + f"<details><summary>Settings of each bundle</summary><pre>{escape(settings)}</pre></details>"
    )


def html_table(rows: Sequence[Mapping[str, str]], values: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Rows of words as a table whose columns sort.

    Args:
        rows: of equal keys.
        values: numbers by which the columns sort, where words are not they.
    """
    if not rows:
        return ""
    names = list(rows[0])
    numbers = [{name: _sortable(row, name) for name in names} for row in values or rows]
    numeric = {name for name in names if any(row[name] is not None for row in numbers)}
    heads = "".join(
        f'<th scope="col"{_kind(name, numeric)}><button type="button">{escape(name)}</button></th>' for name in names
    )
    lines = []
    for row, number in zip(rows, numbers, strict=True):
        cells = []
        for name in names:
            key = "" if number[name] is None else f' data-value="{number[name]!r}"'
            if name in numeric and number[name] is None:
                key = ' data-value=""'
            kind = ' class="words"' if len(row[name]) > LONG else _kind(name, numeric)
            cells.append(f"<td{kind}{key}>{escape(row[name])}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _kind(name: str, numeric: set[str]) -> str:
    return ' class="number"' if name in numeric else ""


def _sortable(row: Mapping[str, Any], name: str) -> float | None:
    """The number of a cell; None where it is none."""
    value = row.get(name)
    try:
        number = float(value) if value is not None and not isinstance(value, bool) else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number
