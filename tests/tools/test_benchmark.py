"""What the benchmark measures is what it says: equal parameters, all operations, true peaks, alternating rounds."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from flemme_monai.commands import (
    benchmark,
    benchmark_augmentation,
    benchmark_diffusion,
    benchmark_mamba,
    benchmark_networks,
    benchmark_scans,
)
from flemme_monai.commands.benchmark_diffusion import Denoising, Operations, Sampling, step_operations
from flemme_monai.commands.benchmark_networks import GROUPS, Problem, Workload, build, matched_widths
from flemme_monai.commands.measure import (
    alternating_seconds,
    count_flops,
    count_parameters,
    markdown_table,
    matched_width,
    matmul_peak,
    peak_bytes,
)
from flemme_monai.commands.places import BUNDLES, environment

CPU = torch.device("cpu")
MEBIBYTE = 2**20
TINY = Problem(2, 2, 8)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("group", GROUPS)
def test_networks_of_a_group_have_matched_parameter_counts(group: str, spatial_dims: int) -> None:
    widths = matched_widths(group, spatial_dims, quick=True)
    assert widths.keys() == {*GROUPS[group][0], *GROUPS[group][1]}
    counts = [parameters for _, parameters in widths.values()]
    assert max(counts) <= 1.1 * min(counts)
    name, (width, parameters) = next(iter(widths.items()))
    assert count_parameters(build(name, spatial_dims, width)) == parameters


def test_the_default_backbone_sets_the_number_of_parameters() -> None:
    assert matched_widths("conv", 2)["UNet"][0] == 1.0


def test_a_width_that_cannot_match_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no width gives 1,000,000 parameters: the closest, .* has 10\."):
        matched_width(lambda width: nn.Linear(10, 1, bias=False), 1_000_000)


def test_works_alternate_and_warm_up_is_not_counted() -> None:
    order: list[str] = []
    workloads = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = alternating_seconds(workloads, repeats=3, warmup=1, device=CPU)
    assert order == list("abababab")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_rounds_can_be_timed_by_another_clock() -> None:
    ticks = iter(range(100))
    seconds = alternating_seconds({"a": lambda: next(ticks)}, 2, 1, CPU, clock=lambda: float(next(ticks)))
    assert seconds == {"a": [2.0, 2.0]}


def test_operations_of_a_convolution_are_its_multiplications_and_additions() -> None:
    layer, image = nn.Conv2d(2, 3, 3, padding=1, bias=False), torch.rand(1, 2, 8, 8)
    assert count_flops(lambda: layer(image)) == 2 * 3 * 2 * 9 * 64


def test_operations_of_attention_are_counted() -> None:
    tokens = torch.rand(1, 2, 16, 4)
    flops = count_flops(lambda: nn.functional.scaled_dot_product_attention(tokens, tokens, tokens))
    assert flops == 2 * (2 * 2 * 16 * 16 * 4)


def test_the_matmul_peak_is_a_rate() -> None:
    assert matmul_peak(CPU, 64, repeats=2) > 0


def test_peak_memory_counts_what_was_freed_again() -> None:
    code = (
        "import torch; from flemme_monai.commands.measure import peak_bytes\n"
        "def work():\n    a = torch.ones(32, 2**18)\n    del a\n    torch.ones(8, 2**18)\n"
        "print(peak_bytes(work, torch.device('cpu')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 32 * MEBIBYTE <= int(done.stdout) < 36 * MEBIBYTE


def test_a_training_step_moves_the_weights_and_inference_does_not() -> None:
    load = Workload("UNet", 0.25, Problem(2, 1, 32), CPU)
    before = [p.clone() for p in load.network.parameters()]
    load.work("infer")()
    assert all(torch.equal(a, b) for a, b in zip(before, load.network.parameters()))
    load.work("train")()
    assert not any(torch.equal(a, b) for a, b in zip(before, load.network.parameters()) if a.ndim > 1)


def test_the_report_compares_every_pair_of_a_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_networks, "GROUPS", {"conv": (("CNN", "UNet"), ("monai.UNet", "monai.BasicUNet"))})
    monkeypatch.setattr(
        benchmark_networks, "memory_in_process", lambda *args: {"train MiB": 2.0, "infer MiB": float(len(args[0]))}
    )
    output = tmp_path / "networks.md"
    command = ["networks", "--quick", "--spatial_dims", "2", "--groups", "conv", "--repeats", "1", "--warmup", "0"]
    assert benchmark.main([*command, "--threads", str(torch.get_num_threads()), "--output", str(output)]) == 0

    content = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert [row["network"] for row in content["rows"]] == ["CNN", "UNet", "monai.UNet", "monai.BasicUNet"]
    assert all(row[f"{mode} % of peak"] > 0 for row in content["rows"] for mode in ("train", "infer"))
    pairs = {(row["ours"], row["MONAI's"]): row for row in content["ratios"]}
    assert pairs.keys() == {(a, b) for a in ("CNN", "UNet") for b in ("UNet", "BasicUNet")}
    speed = content["rows"][2]["train ms"] / content["rows"][0]["train ms"]
    assert pairs["CNN", "UNet"]["train speed"] == pytest.approx(speed)
    assert pairs["CNN", "UNet"]["infer memory"] == pytest.approx(len("CNN") / len("monai.UNet"))
    assert output.read_text(encoding="utf-8") == capsys.readouterr().out


def test_encoders_are_compared_at_equal_widths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_networks, "QUICK", {2: Problem(2, 1, 64)})
    monkeypatch.setattr(benchmark_networks, "memory_in_process", lambda *args: {"train MiB": 2.0, "infer MiB": 1.0})
    command = ["encoders", "--quick", "--repeats", "1", "--warmup", "0", "--threads", str(torch.get_num_threads())]
    assert benchmark.main([*command, "--output", str(tmp_path / "encoders.md")]) == 0
    rows = json.loads((tmp_path / "encoders.json").read_text(encoding="utf-8"))["rows"]
    assert [row["network"] for row in rows] == list(benchmark_networks.U_SHAPED)
    assert rows[0]["train / UNet"] == rows[0]["infer / UNet"] == 1
    assert rows[1]["train / UNet"] == pytest.approx(rows[1]["train ms"] / rows[0]["train ms"])


def test_a_denoiser_is_that_of_its_bundle() -> None:
    network = benchmark_diffusion.build("UNet", 2, 1.0)
    config = json.loads((BUNDLES / "ddpm_unet/configs/train.json").read_text(encoding="utf-8"))
    assert network.backbone.feature_channels == config["network_def"]["backbone"]["channels"][::-1]
    assert network.backbone.family.norm == "group"


@pytest.mark.parametrize("name", ["UNet", "UNet@checkpointing", "UNet@bf16", "monai.DiffusionModelUNet"])
def test_a_denoiser_trains(name: str) -> None:
    load = Denoising(name, 0.25, TINY, CPU)
    before = load.network.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    load.work("train")()
    assert any(not torch.equal(value, before[key]) for key, value in load.network.state_dict().items())
    assert load.predict().dtype == (torch.bfloat16 if name.endswith("bf16") else torch.float32)


def test_the_report_compares_denoisers_of_equal_parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_diffusion, "QUICK_PROBLEMS", {2: TINY})
    monkeypatch.setattr(benchmark_networks, "memory_in_process", lambda *args: {"train MiB": 2.0, "infer MiB": 1.0})
    command = ["diffusion", "--parts", "denoisers", "--spatial_dims", "2", "--quick", "--repeats", "1", "--warmup", "0"]
    assert benchmark.main([*command, "--threads", "1", "--output", str(tmp_path / "x")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["rows"]["denoisers"]
    assert [row["network"] for row in rows] == ["UNet", *benchmark_diffusion.VARIANTS, *benchmark_diffusion.THEIRS]
    counts = [row["parameters"] for row in rows]
    assert max(counts) <= 1.1 * min(counts)


@pytest.mark.parametrize(("bundle", "evaluations"), [("ddpm_unet", 3), ("edm_unet", 5)])
def test_evaluations_of_the_network_are_counted(bundle: str, evaluations: int) -> None:
    sampling = Sampling(bundle, 3, TINY, CPU)
    sampling()
    sampling()
    assert sampling.evaluations == evaluations
    assert len(sampling.inside) == 2


@pytest.mark.parametrize("bundle", ["ddpm_unet", "edm_unet"])
def test_a_sampling_step_does_the_same_besides_the_network_whatever_the_size(bundle: str) -> None:
    found = [step_operations(bundle, problem) for problem in (Problem(2, 1, 8), Problem(2, 4, 16), Problem(3, 1, 8))]
    assert found[0] == found[1] == found[2]
    assert found[0]["operations beside"] < 20


@pytest.mark.parametrize("encoder", benchmark_diffusion.U_SHAPED)
@pytest.mark.parametrize("architecture", ["ddpm", "edm"])
def test_sampling_copies_nothing_between_host_and_device_in_its_loop(architecture: str, encoder: str) -> None:
    assert step_operations(f"{architecture}_{encoder}", Problem(2, 1, 16))["device copies"] == 0


def test_copies_between_devices_are_counted() -> None:
    with Operations() as found:
        torch.zeros(2).to("meta") + torch.zeros(2, device="meta")
    assert (found.total, found.copies) == (4, 1)


def test_the_report_of_sampling_has_a_row_a_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_diffusion, "QUICK_SAMPLED", TINY)
    monkeypatch.setattr(benchmark_diffusion, "QUICK_PROBLEMS", {2: TINY})
    monkeypatch.setattr(benchmark_diffusion, "U_SHAPED", ("unet", "swinu"))
    command = ["diffusion", "--parts", "sampling", "steps", "--quick", "--repeats", "1", "--warmup", "0"]
    assert benchmark.main([*command, "--threads", "1", "--output", str(tmp_path / "x")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["rows"]
    assert [row["bundle"] for row in rows["sampling"]] == ["ddpm_unet", "edm_unet", "ddpm_swinu", "edm_swinu"]
    assert [row["evaluations"] for row in rows["sampling"]] == [2, 3, 2, 3]
    assert all(row["samples/s"] > 0 and 0 < row["rest %"] < 100 for row in rows["sampling"])
    assert [row["device copies"] for row in rows["steps"]] == [0, 0]


def test_scans_beside_each_other_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"selective": benchmark_scans.Selective(2, 4, 3, 128), "ssd": benchmark_scans.Ssd(2, 128, 2, 4, 3)}
    for kind, scans in benchmark_scans.SCANS.items():
        inputs = sizes[kind].inputs()
        found = {n: benchmark_scans.step(scan, inputs) for n, scan in scans.items() if benchmark_scans.there(n)}
        for gradients in found.values():
            for one, other in zip(gradients, found["torch"]):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_report_of_scans_has_a_row_a_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_scans, "memory_in_process", lambda *args: 1.0)
    monkeypatch.setattr(benchmark_scans, "there", lambda name: name not in ("mambapy", "transformers"))
    assert benchmark.main(["scan", "--quick", "--repeats", "1", "--warmup", "0", "--output", str(tmp_path / "x")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["rows"]
    assert len(rows["selective"]) == len(benchmark_scans.SELECTIVE)
    assert len(rows["ssd"]) == len(benchmark_scans.SSD)
    assert all(row["numba over limit"] > 0 and row["mambapy ms"] == "-" for row in rows["selective"])


def test_the_report_of_mambas_blocks_has_a_row_for_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_mamba, "memory_in_process", lambda *args: 1.0)
    monkeypatch.setattr(benchmark_mamba, "there", lambda name: name not in ("mambapy", "transformers"))
    assert benchmark.main(["mamba", "--quick", "--repeats", "1", "--warmup", "0", "--output", str(tmp_path / "x")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["rows"]
    assert [row["block"] for row in rows] == [kind for kind, _ in benchmark_mamba.CASES]
    assert all(row["ours ms"] > 0 and row["recurrence / ours"] > 0 and row["mambapy ms"] == "-" for row in rows)


def test_the_recurrence_of_a_block_is_the_same_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(benchmark_mamba.ENVIRONMENT, "torch")
    for kind in benchmark_mamba.KINDS:
        block, x = benchmark_mamba.made("ours", kind, benchmark_mamba.Size(1, 64, 32))
        results = [benchmark_mamba.step(name, block, x) for name in ("ours", "recurrence")]
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
        assert os.environ[benchmark_mamba.ENVIRONMENT] == "torch"


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    args = argparse.Namespace(device="cpu", threads=1)
    problem = Problem(2, 1, 128)
    memory = benchmark_networks.memory_in_process("UNet", 0.25, problem, args)
    weights = 4 * count_parameters(build("UNet", 2, 0.25)) / MEBIBYTE
    assert memory["train MiB"] > memory["infer MiB"] > weights


def test_importing_the_package_is_measured_over_importing_monai(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["imports", "--repeats", "1", "--output", str(tmp_path / "imports.md")]) == 0
    content = json.loads((tmp_path / "imports.json").read_text(encoding="utf-8"))
    assert content["monai s"] > content["flemme_monai s"] >= 0
    assert "import flemme_monai adds" in capsys.readouterr().out


def test_the_machine_is_named_beside_every_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    benchmark.report("a table", {"rows": 1}, tmp_path / "x")
    line = (tmp_path / "x.md").read_text(encoding="utf-8").splitlines()[0]
    assert (
        line
        == capsys.readouterr().out.splitlines()[0]
        == json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["machine"]
    )
    assert f", {torch.backends.cpu.get_cpu_capability()}" in line
    assert line.endswith(f", torch {torch.__version__}.")


def test_linear_layers_are_measured_with_both_instruction_sets(tmp_path: Path) -> None:
    command = ["linear", "--quick", "--repeats", "2", "--warmup", "0", "--threads", "1"]
    assert benchmark.main([*command, "--output", str(tmp_path / "x")]) == 0
    content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert content["AVX2"]["instructions"].endswith("oneDNN at most AVX2")
    for kind in ("as it is", "AVX2"):
        (row,) = content[kind]["rows"]
        assert row["train ratio"] == row["train convolution ms"] / row["train linear ms"]


def test_augmentation_is_measured_with_and_without_the_other_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ["augmentation", "--quick", "--repeats", "2", "--warmup", "0", "--output", str(tmp_path / "x")]

    def missing(crop: int) -> None:
        raise ImportError("No module named 'batchgeneratorsv2'")

    monkeypatch.setattr(benchmark_augmentation, "theirs", missing)
    assert benchmark.main(command) == 0
    text = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert "`pip install batchgeneratorsv2` measures it too" in text
    assert text.count("| flemme_monai, ") == 2
    monkeypatch.setattr(benchmark_augmentation, "theirs", lambda crop: lambda case: case)
    benchmark.main(command)
    assert "| batchgeneratorsv2 | " in (tmp_path / "x.md").read_text(encoding="utf-8")


def test_a_bundles_augmentation_crops_image_and_label() -> None:
    case = benchmark_augmentation.volume(32)
    assert set(case["label"].unique().tolist()) == {0, 1, 2}
    crop = benchmark_augmentation.ours(16, benchmark_augmentation.AS_NNUNET)(case)
    assert crop["image"].shape == crop["label"].shape == (1, 16, 16, 16)


def test_a_table_has_a_line_for_each_row() -> None:
    table = markdown_table([{"name": "a", "count": 1234, "share": 0.12345}])
    assert table.splitlines() == ["| name | count | share |", "| --- | --- | --- |", "| a | 1,234 | 0.123 |"]


def test_peak_memory_of_this_process_is_a_number_of_bytes() -> None:
    assert peak_bytes(lambda: torch.ones(2**20), CPU) >= 0


@pytest.mark.slow
def test_waiting_for_data_is_a_share_of_each_epoch(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ["image_size=[32,32]", "batch_size=16", "num_workers=0"]
    command = ["loader", str(bundle), "--epochs", "2", "--set", *settings, "--output", str(tmp_path / "loader.md")]
    before = sorted(bundle.rglob("*"))
    assert benchmark.main(command) == 0
    rows = json.loads((tmp_path / "loader.json").read_text(encoding="utf-8"))["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(0 <= row["waiting"] <= 1 for row in rows)
    assert "is spent waiting for data" in capfd.readouterr().out
    assert sorted(bundle.rglob("*")) == before


def test_a_setting_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["loader", "sem_unet", "--set", "batch_size"])
    assert "'batch_size' is not of the form NAME=VALUE" in capsys.readouterr().err
