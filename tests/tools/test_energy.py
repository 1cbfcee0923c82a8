"""The energy that a processor counts."""

import pytest

from flemme_monai.commands.energy import counters, joules


def counter(root, name, start, most=10_000_000):
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{start}\n", encoding="utf-8")
    (folder / "max_energy_range_uj").write_text(f"{most}\n", encoding="utf-8")
    return folder / "energy_uj"


def test_the_packages_are_summed_and_their_parts_are_not(tmp_path):
    one, other = counter(tmp_path, "intel-rapl:0", 1_000_000), counter(tmp_path, "intel-rapl:1", 0)
    counter(tmp_path, "intel-rapl:0:0", 5)
    assert [path.name for path in counters(tmp_path)] == ["intel-rapl:0", "intel-rapl:1"]

    def work():
        for path in (one, other):
            path.write_text(str(int(path.read_text(encoding="utf-8")) + 500_000), encoding="utf-8")

    assert joules(work, 4, tmp_path) == pytest.approx(1.0)


def test_a_counter_may_begin_anew(tmp_path):
    path = counter(tmp_path, "intel-rapl:0", 9_000_000)
    assert joules(lambda: path.write_text("2000000", encoding="utf-8"), 1, tmp_path) == pytest.approx(3.0)


def test_without_a_counter_that_can_be_read_there_is_no_energy(tmp_path):
    assert joules(lambda: None, 1, tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert joules(lambda: None, 1, tmp_path) is None
    assert joules(lambda: None, 1, tmp_path / "none") is None
