"""The tables of a comparison as CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..commands.measure import markdown_table
from ..io import write_csv
from ..utils.files import text_file
from .analysis import DEVIATION, convergence, differences, intervals, ranks, summary
from .results import Results

WHOLE = ("parameters", "seeds", "folds", "trainings", "pairs needed")


def write_tables(results: Results, folder: Path, baseline: str | None, test: str) -> None:
    """Write ``comparison.csv``, ``comparison.md``, ``comparison.tex`` and ``differences.csv``."""
    rows = summary(results)
    write_rows(folder / "comparison.csv", rows)
    shown = [plus_minus(row, results.metrics) for row in rows]
    found = all_differences(results, baseline, test)
    write_rows(folder / "differences.csv", found)
    with text_file(folder / "comparison.tex") as file:
        file.write(latex_table(shown))
    with text_file(folder / "comparison.md") as file:
        file.write("\n\n".join(pages(results, shown, found)) + "\n")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV; without rows there is no file."""
    if rows:
        write_csv(path, rows[0], ([csv_cell(value) for value in row.values()] for row in rows))


def csv_cell(value: Any) -> Any:
    """A value as it stands in a CSV file: empty where there is none, floats with six digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def all_differences(results: Results, baseline: str | None, test: str) -> list[dict[str, Any]]:
    """The rows of all data sets and metrics."""
    found = [
        row.row()
        for data in results.data
        for metric in results.metrics
        for row in differences(results, data, metric, baseline, test)
    ]
    columns = list(dict.fromkeys(name for row in found for name in row))
    return [{name: row.get(name) for name in columns} for row in found]


def plus_minus(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    """A row of the summary with each metric's deviation beside its mean, as words."""
    cells = {}
    for name, value in row.items():
        if name.endswith(DEVIATION):
            continue
        deviation = row.get(name + DEVIATION)
        cells[name] = words(name, value, exact=name in metrics)
        if deviation is not None:
            cells[name] += f" ± {deviation:.4f}"
    return cells


def words(name: str, value: Any, exact: bool = False) -> str:
    """A value of a table for readers: four digits of a metric, three of what is measured."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if name in WHOLE:
        return f"{value:,.0f}"
    return f"{value:.4f}" if exact else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def pages(results: Results, shown: list[dict[str, str]], found: list[dict[str, Any]]) -> list[str]:
    """The parts of ``comparison.md``."""
    about = results.about
    parts = [about["environment"]["machine"], f"```\n{about['command']}\n```", markdown_table(shown)]
    if any(DEVIATION.strip() not in row and " ± " in "".join(row.values()) for row in shown):
        parts.append("Mean ± deviation over seeds.")
    if found:
        parts += ["## Differences", difference_note(results), markdown_table([difference_words(row) for row in found])]
    ranked = [line for data in results.data if (line := rank_line(results, data))]
    if ranked:
        parts += ["## Ranks", *ranked]
    parts += ["## Intervals and convergence", markdown_table(interval_rows(results))]
    if about.get("failed"):
        parts += ["## Failed", "\n".join(f"- {message}" for message in about["failed"])]
    return parts


def difference_note(results: Results) -> str:
    """What the columns of the differences mean."""
    return (
        f"Intervals: 95%, by a bootstrap over trainings and cases. p: {results.about['test']} test over cases, each "
        "the mean over its trainings, adjusted by Holm's method over the rows of one metric (their mean apart). A "
        "difference is called better or worse where p is below 0.05 and the interval leaves out 0."
    )


def difference_words(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the differences for readers."""
    cells = {"data": row["data"]} if row.get("data") else {}
    p = row["p (Holm)"] if not math.isnan(row["p (Holm)"]) else row["p"]
    return cells | {
        "metric": row["metric"],
        "of": row["of"],
        "against": row["against"],
        "value": f"{row['value']:.4f}",
        "against it": f"{row['value against']:.4f}",
        "difference": f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
        "percent": f"{row['percent']:+.2f}",
        "p": "" if math.isnan(p) else f"{p:.4f}" if p >= 1e-4 else "< 0.0001",
        "Cohen's d": "" if math.isnan(row["Cohen's d"]) else f"{row['Cohen' + chr(39) + 's d']:.2f}",
        "trainings": str(row["trainings"]),
        "verdict": row["verdict"],
    }


def rank_line(results: Results, data: str) -> str:
    """A sentence on the ranks of a data set; empty where nothing is ranked."""
    found = ranks(results, data, results.metrics[0])
    if found is None:
        return ""
    names, comparison = found
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(names, comparison.ranks))
    p = "" if math.isnan(comparison.p) else f" Friedman's test: p = {comparison.p:.2g}."
    return (
        f"{data + ': ' if data else ''}mean ranks by {results.metrics[0]} over {comparison.cases} cases: {listed}. "
        f"Ranks that differ by less than {comparison.critical:.2f} do not differ (Nemenyi, 5%).{p}"
    )


def interval_rows(results: Results) -> list[dict[str, str]]:
    """For each bundle the interval of the first metric, and what its training gained at its end."""
    metric, rows = results.metrics[0], []
    for data in results.data:
        found = intervals(results, data, metric)
        for bundle in results.bundles(data):
            gain = convergence(results, data, bundle)
            rows.append(
                {
                    **({"data": data} if results.data != [""] else {}),
                    "bundle": bundle,
                    f"{metric}, 95% over trainings and cases": str(found.get(bundle, "")),
                    "gain in the last fifth of the epochs": "" if gain is None else f"{gain:.1%}",
                }
            )
    return rows


def latex_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a LaTeX table (booktabs); the first columns of words are left, others right."""
    names = list(rows[0])
    left = ("data", "bundle", "channels")
    lines = [" & ".join(map(latex, names)), *(" & ".join(latex(row[name]) for name in names) for row in rows)]
    columns = "".join("l" if name in left else "r" for name in names)
    body = " \\\\\n".join(lines[1:])
    head = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{lines[0]} \\\\\n\\midrule\n"
    return f"{head}{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n"


def latex(text: str) -> str:
    """Words as LaTeX takes them."""
    for sign in ("\\", "&", "%", "$", "#", "_", "{", "}"):
        text = text.replace(sign, "\\textbackslash " if sign == "\\" else f"\\{sign}")
    return text.replace("±", "$\\pm$")
