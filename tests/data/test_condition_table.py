"""Numbers of cases in a table, of which a network is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from image_files import random_picture, write_picture
from monai.transforms import Compose
from torch.utils.data import DataLoader

from flemme_monai.data import CaseDataset, column_names, inference_list, split_datalist, vector_statistics
from flemme_monai.data.condition_table import add_vectors
from flemme_monai.transforms import LoadImageAndLabeld

GENERATION = {"task": "generation", "spatial_dims": 2, "in_channels": 1, "out_channels": None, "image_size": 8}


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def numbers(path: Path, *names: str, columns: str | list[str] = "age") -> list[list[float]]:
    cases = [{"case": name} for name in names]
    add_vectors(cases, path, columns)
    return [case["vector"].tolist() for case in cases]


@pytest.mark.parametrize(
    ("row", "case"),
    [
        ("hand/0001", "hand/0001"),
        ("0001", "hand/0001"),
        ("0001.png", "hand/0001"),
        ("0001.nii.gz", "0001"),
        ("sub-01", "sub-01/ses-1/sub-01_ses-1"),
        ("ses-1", "sub-01/ses-1/sub-01_ses-1"),
    ],
)
def test_a_row_is_called_as_the_case_its_file_or_a_folder(tmp_path, row, case):
    assert numbers(table(tmp_path, f"case,age\nother,1\n{row},63.5\n"), case) == [[63.5]]


def test_a_row_of_the_case_itself_is_preferred(tmp_path):
    path = table(tmp_path, "case,age\nhand,1\n0001,2\nhand/0001,3\n")
    assert numbers(path, "hand/0001", "foot/0001", "hand/0002") == [[3], [2], [1]]


@pytest.mark.parametrize(("delimiter", "name"), [(",", "t.csv"), (";", "t.csv"), ("\t", "participants.tsv")])
def test_columns_come_in_the_order_that_is_asked_for(tmp_path, delimiter, name):
    rows = [("participant_id", "age", "sex", "weight"), ("a", "63", "1", "80.5"), ("b", "20", "0", "61")]
    path = table(tmp_path, "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows), name)
    assert numbers(path, "b", "a", columns=["weight", "age"]) == [[61, 20], [80.5, 63]]
    assert numbers(path, "b", columns="sex, weight") == [[0, 61]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("case,age\na,1\nb,\n", "age", "case 'b' has no value in column 'age'; expected a number"),
        ("case,age\na,1\nb,n/a\n", "age", "case 'b' has no value in column 'age'"),
        ("case,age,sex\na,1,0\nb,1\n", "sex", "case 'b' has no value in column 'sex'"),
        ("case,sex\na,1\nb,F\n", "sex", "case 'b' has 'F' in column 'sex'; expected a number: write categories as 0"),
        ("case,age\na,1\nb,inf\n", "age", "case 'b' has 'inf' in column 'age'"),
        ("case,age\na,1\n", "age", "has no row of case 'b'; expected one called so, as its file or as its folder"),
        ("case,age\na,1\nb,2\n", "size", "has no column 'size' beside the cases' names; expected one of age"),
        ("case,age\na,1\nb,2\n", "case", "has no column 'case' beside the cases' names"),
        ("case,age\na,1\nb,2\nb,3\n", "age", "has two rows of 'b'"),
    ],
)
def test_what_is_missing_is_named_with_its_case(tmp_path, text, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        numbers(table(tmp_path, text), "a", "b", columns=columns)


def test_a_table_and_its_columns_go_together(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        numbers(tmp_path / "none.csv", "a")
    with pytest.raises(ValueError, match="without condition_table"):
        add_vectors([{"case": "a"}], None, "age")
    with pytest.raises(ValueError, match="without condition_columns"):
        add_vectors([{"case": "a"}], "t.csv", None)
    assert column_names(None) == column_names([]) == []
    assert column_names(("a", "b")) == column_names("a,b") == ["a", "b"]


def test_statistics_are_of_the_cases_that_are_given(tmp_path):
    cases = [{"vector": np.array([age, 1.0], np.float32)} for age in (10, 20, 60)]
    with pytest.raises(ValueError, match=r"'one' is 1 in all 3 cases that train; expected different numbers"):
        vector_statistics(cases, "age,one")
    cases[0]["vector"][1] = 4
    mean, std = vector_statistics(cases, "age,one")
    assert mean == pytest.approx([30, 2])
    assert std == pytest.approx([np.std([10, 20, 60]), np.sqrt(2)])
    assert vector_statistics(cases, None) == (None, None)


def test_cases_of_training_and_inference_have_their_numbers(tmp_path):
    for i in range(10):
        write_picture(tmp_path / "set" / f"{i}.png", random_picture(i, (8, 8)))
    path = table(tmp_path, "case,age\n" + "".join(f"{i},{20 + i}\n" for i in range(10)))
    told = {**GENERATION, "condition_table": path, "condition_columns": ["age"]}
    split = split_datalist(tmp_path / "set", **told)
    assert [case["vector"].tolist() for case in split["test"]] == [[28], [29]]
    cases = inference_list(tmp_path / "set", **told)
    dataset = CaseDataset(cases, Compose([LoadImageAndLabeld(1)]), progress=False)
    batch = next(iter(DataLoader(dataset, batch_size=10)))
    assert batch["vector"].shape == (10, 1)
    assert batch["vector"].flatten().tolist() == list(range(20, 30))
    with pytest.raises(ValueError, match="beside 2 classes; expected one condition"):
        split_datalist(tmp_path / "set", **{**told, "task": "segmentation", "out_channels": 2}, condition_classes=2)
