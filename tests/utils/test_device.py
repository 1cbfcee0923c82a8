"""A device is chosen by name."""

from __future__ import annotations

import pytest
import torch

from flemme_monai.utils import select_device, use_amp


@pytest.fixture
def gpus(monkeypatch):
    def set_count(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return set_count


def test_auto_is_the_cpu_where_there_is_no_gpu(gpus):
    gpus(0)
    assert select_device("auto") == torch.device("cpu")


def test_auto_is_the_gpu_of_the_local_rank(gpus, monkeypatch):
    gpus(2)
    assert select_device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert select_device() == select_device("cuda") == torch.device("cuda", 1)
    assert select_device("cuda:0") == torch.device("cuda", 0)


def test_a_device_stays_what_it_is(gpus):
    gpus(0)
    assert select_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_an_error(gpus, name, count):
    gpus(count)
    with pytest.raises(ValueError, match=f"'{name}' asks for GPU .* has {count}"):
        select_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu:1", "xpu:", "auto:1"])
def test_an_unknown_name_is_an_error(gpus, name):
    gpus(1)
    with pytest.raises(ValueError, match="is unknown; expected auto, cpu, cuda, cuda:K, xpu, xpu:K or mps"):
        select_device(name)


@pytest.mark.parametrize(("name", "device"), [("xpu", "xpu:0"), ("xpu:1", "xpu:1"), ("mps", "mps:0")])
def test_other_accelerators_are_taken_where_pytorch_has_them(gpus, monkeypatch, name, device):
    gpus(0)
    with pytest.raises(ValueError, match=f"'{name}' asks for (Intel|Apple) GPU . and this machine has 0"):
        select_device(name)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device(name) == torch.device(device)
    assert select_device("auto") == torch.device("cpu")


def test_a_process_of_several_takes_its_own_intel_gpu(monkeypatch):
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert select_device("xpu") == torch.device("xpu", 1)


def test_mixed_precision_needs_a_gpu_and_that_is_said_once(gpus, caplog):
    caplog.set_level("INFO")
    use_amp.cache_clear()
    gpus(0)
    assert not use_amp("true")
    assert not use_amp("true")
    assert caplog.messages == ["amp has no effect on the CPU"]
    use_amp.cache_clear()
    gpus(1)
    assert use_amp(True, "cuda")
    assert not use_amp("false", "cuda")
    assert not use_amp(True, "cpu")
    use_amp.cache_clear()
