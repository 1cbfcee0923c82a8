"""The loader that prepares batches beside the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.data import Dataset

from flemme_monai.data import CaseLoader


def broken_at(index: int):
    def load(item: int) -> torch.Tensor:
        if item == index:
            raise ValueError(f"case {item} is broken")
        return torch.tensor(item)

    return load


def test_batches_come_in_order() -> None:
    loader = CaseLoader(Dataset(list(range(5)), torch.tensor), batch_size=2, num_workers=0, buffer_size=2)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


def test_an_error_in_the_thread_is_raised_after_the_batches_before_it() -> None:
    loader = CaseLoader(Dataset(list(range(5)), broken_at(3)), batch_size=1, num_workers=0, buffer_size=4)
    seen: list[int] = []
    with pytest.raises(RuntimeError, match="applying transform") as error:
        seen.extend(batch.item() for batch in loader)
    assert seen == [0, 1, 2]
    assert str(error.value.__cause__) == "case 3 is broken"


class Named(Dataset):
    """Items that name a broken one as bundles do."""

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 3:
            raise FileNotFoundError("/data/3.nii.gz: no such file")
        return torch.tensor(index)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_has_its_own_words_also_from_a_worker_process(num_workers: int) -> None:
    loader = CaseLoader(Named(list(range(5))), batch_size=1, num_workers=num_workers, buffer_size=4)
    with pytest.raises(FileNotFoundError, match=r"^/data/3\.nii\.gz: no such file$"):
        list(loader)


def test_an_error_elsewhere_does_not_abort_the_process_while_batches_are_made() -> None:
    """The thread is inside PyTorch when the interpreter ends."""
    program = """
import torch
from monai.data import Dataset
from flemme_monai.data import CaseLoader
work = lambda item: torch.rand(300, 300).matmul(torch.rand(300, 300)).sum()
loader = CaseLoader(Dataset(list(range(10000)), work), batch_size=4, num_workers=0, buffer_size=4)
batches = iter(loader)
next(batches)
raise ValueError("the network broke")
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: the network broke"
