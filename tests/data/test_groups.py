"""What keeps the cases of a patient together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue

from flemme_monai.data import inference_list
from flemme_monai.data.groups import group_names, propose_group_by, proposed_expression


def cases(names: list[str]) -> list[dict]:
    return [{"case": name} for name in names]


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        (r"case\d+", ["case1", "case1", "case12"]),
        (r"case(\d+)_", ["1", "1", "12"]),
        (r"(a|b)/case(\d+)", ["a|1", "b|1", "b|12"]),
        ("folder", ["a", "b", "b"]),
    ],
)
def test_a_group_is_what_the_expression_or_its_groups_match(group_by: str, groups: list[str]) -> None:
    names = ["a/case1_001", "b/case1_002", "b/case12_001"]
    assert list(group_names(cases(names), group_by).values()) == groups


@pytest.mark.parametrize(
    ("group_by", "words"),
    [
        ("(", r"group_by is '\(', which is no regular expression"),
        (3, "group_by is 3; expected a regular expression"),
        ("patient", r"finds nothing in 4 of 4 names \(a, case1, case2, \.\.\.\)"),
        (r"case\d", r"finds nothing in 1 of 4 names \(a\)"),
        (r"\d*$", r"finds nothing in 1 of 4 names \(a\)"),
        ("folder", r"lie in no sub-folder in 4 of 4 names \(a, case1, case2, \.\.\.\)"),
    ],
)
def test_an_expression_that_does_not_fit_is_refused(group_by, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        group_names(cases(["case1", "case2", "case3", "a"]), group_by)


def test_folders_in_folders_name_the_expression_for_the_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    group_names(cases(["p1/visit1/0", "p1/visit2/0", "p2/visit1/0"]), "folder")
    assert "3 groups of 3 cases (p1/visit1, p1/visit2, p2/visit1)" in caplog.text
    assert '--group_by "^[^/]+"' in caplog.text


SLICES = {
    "case12_slice003": (r"case\d+", [f"case{p}_slice{k:03d}" for p in range(10, 14) for k in range(5)]),
    "patient1_001": (r"patient\d+", [f"patient{p}_{k:03d}" for p in range(1, 12) for k in range(3)]),
    "BRATS_001_z12": (r"([^/]+)_z\d+$", [f"BRATS_{p:03d}_z{k}" for p in range(4) for k in range(8, 12)]),
    "p03_7": (r"([^/]+)_\d+$", [f"p{p:02d}_{k}" for p in range(5) for k in range(10)]),
    "0012-0003": (r"([^/]+)-\d+$", [f"{p:04d}-{k:04d}" for p in range(5) for k in range(4)]),
    "a/s1z04": (r"([^/]+)z\d+$", [f"{c}/s{p}z{k:02d}" for c in "ab" for p in range(5) for k in range(4)]),
    "case1_day2_slice_0001_266_1.50": (
        r"case\d+",
        [f"case{p}_day{d}_slice_{k:04d}_266_1.50" for p in range(4) for d in range(2) for k in range(4)],
    ),
    "TCGA_CS_4941_19960909_1": (
        r"([^/]+)_\d+$",
        [f"TCGA_{place}_{p}_19960909_{k}" for place in ("CS", "DU") for p in (4941, 4942) for k in range(4)],
    ),
}


@pytest.mark.parametrize("name", SLICES)
def test_names_of_slices_propose_an_expression(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    expression, names = SLICES[name]
    propose_group_by(cases(names))
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert f'--group_by "{expression}"' in line
    pasted = DefaultParseValue(re.search(r'--group_by "(.*)"', line)[1])  # as the command line reads it
    found = group_names(cases(names), pasted)
    assert f"several images of each of {len(set(found.values()))} patients" in line


@pytest.mark.parametrize(
    "names",
    [
        [f"img_{k:03d}" for k in range(40)],
        [f"nuclei_{k:05d}" for k in range(40)],
        [f"{k:06d}" for k in range(40)],
        [f"Hand/{k:06d}" for k in range(40)] + [f"CXR/{k:06d}" for k in range(40)],
        [f"hippocampus_{k:03d}" for k in range(40)],
        [f"case_{k:05d}" for k in range(40)],
        [f"BraTS20_Training_{k:03d}" for k in range(40)],
        [f"BraTS-GLI-{k:05d}-000" for k in range(40)],
        [f"{k:03d}_{channel:04d}" for k in range(40) for channel in (0,)],
        [f"benign/benign ({k})" for k in range(40)],
        [f"scan_2021_{k:03d}" for k in range(40)],
        [f"IMG_{k}" for k in range(40)],
        [f"grade_{c}/img_{k}" for c in range(5) for k in range(9)],
        [f"{c}/{k}" for c in range(10) for k in range(9)],
        [f"phantom_{k:03d}" for k in range(40)],
        ["2d_scan_1", "2d_scan_2", "2d_scan_3"],
    ],
    ids=lambda names: names[-1],
)
def test_plain_numbers_propose_nothing(names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    propose_group_by(cases(names))
    assert caplog.text == ""


def test_folders_with_long_numbers_propose_themselves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    propose_group_by(cases([f"TCGA_{p}/{k}" for p in range(4941, 4950) for k in range(5)]))
    assert "9 sub-folders look like patients (TCGA_4941, TCGA_4942, TCGA_4943, ...)" in caplog.text
    assert "set --group_by folder" in caplog.text


@pytest.mark.parametrize("name", ["nuclei", "Task04_Hippocampus", "mednist"])
def test_real_data_sets_propose_nothing(data_dir: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = inference_list(data_dir / name, "reconstruction", 2, 1, 1, 64)
    caplog.clear()
    propose_group_by(found)
    assert proposed_expression([case["case"] for case in found]) is None
    assert caplog.text == ""
