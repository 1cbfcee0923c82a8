"""The tables that a comparison writes."""

import csv

import pytest

from flemme_monai.comparison.entries import Entry
from flemme_monai.comparison.plan import Run
from flemme_monai.comparison.results import Results, collect
from flemme_monai.comparison.tables import latex_table, write_tables


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_results_are_read_as_they_were_written(hierarchical_wins, tmp_path):
    hierarchical_wins.write(tmp_path)
    found = Results.read(tmp_path)
    assert found.about == hierarchical_wins.about
    assert len(found.cases) == 6 * 3 * 40
    for table in ("runs", "cases", "curves", "costs"):
        for one, other in zip(getattr(found, table), getattr(hierarchical_wins, table), strict=True):
            assert one == pytest.approx(other, rel=1e-5)


def test_of_a_classification_each_case_is_right_or_wrong(tmp_path):
    folder = tmp_path / "clm_cnn" / "seed_0"
    (folder / "evaluate").mkdir(parents=True)
    text = "case,file,class,name,true_class,true_name,p_a\nx/1,f,0,a,0,a,0.9\n2,f,1,b,0,a,0.2\n3,f,1,b,,,0.2\n"
    (folder / "evaluate" / "predictions.csv").write_text(text, encoding="utf-8")
    run = Run(Entry("clm_cnn", "clm_cnn", "clm"), "", None, 0, {"settings": {"epochs": 1}}, folder)
    results = collect({run: {"row": {"bundle": "clm_cnn", "accuracy": 0.5, "f1": 0.4}}}, [], {})
    assert [(row["case"], row["accuracy"], row["f1"]) for row in results.cases] == [("x/1", 1, None), ("2", 0, None)]
    assert results.matrix("", ["clm_cnn"], "accuracy").mean() == 0.5


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no comparison.json; expected the folder of a comparison"):
        Results.read(tmp_path)


def test_the_table_is_written_as_csv_markdown_and_latex(hierarchical_wins, tmp_path):
    write_tables(hierarchical_wins, tmp_path, None, "permutation")
    found = {row["bundle"]: row for row in rows(tmp_path / "comparison.csv")}
    assert list(found) == [f"{a}_{e}" for e in ("unet", "swinu", "vmambau") for a in ("sem", "hsem")]
    row = found["hsem_unet"]
    mean, deviation = float(row["dice"]), float(row["dice deviation"])
    words = f"{mean:.4f} ± {deviation:.4f}"
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert f"| hsem_unet | x 1 | 1,001 | {words} |" in text
    assert f"hsem\\_unet & x 1 & 1,001 & {words.replace('±', '$' + chr(92) + 'pm$')} & " in (
        tmp_path / "comparison.tex"
    ).read_text(encoding="utf-8")
    for part in ("flemme-monai compare --output DIR", "1 thread of x86_64", "not significant", "mean ranks by dice"):
        assert part in text


def test_differences_have_a_row_for_each_metric_and_encoder(hierarchical_wins, tmp_path):
    write_tables(hierarchical_wins, tmp_path, None, "wilcoxon")
    found = rows(tmp_path / "differences.csv")
    assert [row["of"] for row in found if row["metric"] == "iou"] == ["unet", "swinu", "vmambau", "mean of all"]
    row = found[0]
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert row["trainings"] == "3"


def test_a_failed_run_stands_in_the_page(made_results, tmp_path):
    results = made_results({"sem_unet": [[0.5, 0.6]]}, failed=["training of sem_cnn failed: see log"])
    write_tables(results, tmp_path, None, "permutation")
    assert "## Failed\n\n- training of sem_cnn failed: see log" in (tmp_path / "comparison.md").read_text(
        encoding="utf-8"
    )
    assert not (tmp_path / "differences.csv").exists()


def test_several_data_sets_have_a_column(made_results, tmp_path):
    one, other = (made_results({"sem_unet": [[0.5, value]]}, data=name) for name, value in (("a", 0.6), ("b", 0.7)))
    for name in ("runs", "cases", "curves", "costs"):
        getattr(one, name).extend(getattr(other, name))
    write_tables(one, tmp_path, None, "permutation")
    assert [(row["data"], row["dice"]) for row in rows(tmp_path / "comparison.csv")] == [("a", "0.55"), ("b", "0.6")]


def test_latex_takes_the_words():
    text = latex_table([{"bundle": "a_b", "dice": "0.5 ± 0.1", "gain": "5%"}])
    assert text.splitlines() == [
        "\\begin{tabular}{lrr}",
        "\\toprule",
        "bundle & dice & gain \\\\",
        "\\midrule",
        "a\\_b & 0.5 $\\pm$ 0.1 & 5\\% \\\\",
        "\\bottomrule",
        "\\end{tabular}",
    ]
