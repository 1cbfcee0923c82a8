"""What a GPU makes of the collection: scans against the recurrence, half precision, compilation, throughput.

python tools/gpu_check.py --output gpu.md
python tools/gpu_check.py --device cpu --quick        # tries the script where there is no GPU

Scans run by every backend that the device has, `mamba_ssm`'s kernels among them where they are installed, and are
compared with the recurrence in float64. Networks train a few steps in float32 and in bfloat16, eagerly and compiled,
ours and MONAI's in turn. The report names the card; a part that fails is reported with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from flemme_monai.commands.benchmark_networks import MODES, Problem, Workload, build  # noqa: E402
from flemme_monai.commands.measure import alternating_seconds, count_parameters, markdown_table  # noqa: E402
from flemme_monai.ops import selective_scan, ssd_scan  # noqa: E402
from flemme_monai.ops.backends import cuda_available  # noqa: E402

NETWORKS = ("UNet", "SwinU", "VMambaU", "monai.BasicUNet", "monai.DynUNet", "monai.SwinUNETR")
PROBLEMS = {"2D": (2, 8, 256), "3D": (3, 2, 96)}  # dimensions, batch, side
QUICK_PROBLEMS = {"2D": (2, 1, 64)}
TRAINING_STEPS = 30
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def scan_inputs(length: int) -> dict[str, torch.Tensor]:
    """Tensors of a selective scan as Mamba makes them, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"u": (2, 64, length), "delta": (2, 64, length), "A": (64, 16), "B": (2, 16, length), "C": (2, 16, length)}
    tensors = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    return {**tensors, "A": -tensors["A"].exp(), "delta": tensors["delta"] - 2}


def ssd_inputs(length: int) -> dict[str, torch.Tensor]:
    """Tensors of a scan of Mamba-2, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "x": (2, length, 4, 32), "dt": (2, length, 4), "A": (4,), "B": (2, length, 1, 32), "C": (2, length, 1, 32),
    }  # fmt: skip
    tensors = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    return {**tensors, "A": -tensors["A"].exp(), "dt": tensors["dt"] - 2}


def difference(scan: Callable[..., Any], tensors: dict[str, torch.Tensor], device: str, backend: str) -> float:
    """The largest relative error of a scan's output and gradients in float32 against the recurrence in float64."""

    def run(dtype: torch.dtype, place: str, name: str) -> list[torch.Tensor]:
        own = {key: value.to(place, dtype).requires_grad_() for key, value in tensors.items()}
        y = scan(**own, backend=name)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), list(own.values()))]

    exact, found = run(torch.float64, "cpu", "reference"), run(torch.float32, device, backend)
    return max(float((a.double().cpu() - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True))


def scans(device: str, length: int) -> str:
    """A table of both scans, a line a backend."""
    backends = ["torch", *(["cuda"] if device == "cuda" and cuda_available() else [])]
    selective, duality = partial(selective_scan, delta_softplus=True), partial(ssd_scan, dt_softplus=True)
    rows = [
        {
            "backend": backend,
            "selective scan": difference(selective, scan_inputs(length), device, backend),
            "Mamba-2's": difference(duality, ssd_inputs(length), device, backend),
        }
        for backend in backends
    ]
    missing = "" if "cuda" in backends else "\n\n`mamba_ssm` is not there: its kernels were not compared."
    return f"Largest relative error, {length} steps.\n\n{markdown_table(rows)}{missing}"


def training(device: str, side: int) -> str:
    """A table of the loss of VMambaU before and after some steps, in float32 and bfloat16."""
    rows = []
    for name, dtype in PRECISIONS.items():
        torch.manual_seed(0)
        network = build("VMambaU", 2, 0.5).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        image = torch.rand(4, 1, side, side, device=device)
        label = (F.avg_pool2d(image, 9, 1, 4) > 0.5).long()[:, 0]
        losses = []
        for _ in range(TRAINING_STEPS):
            optimizer.zero_grad()
            with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
                loss = F.cross_entropy(network(image).float(), label)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        rows.append({"precision": name, "first loss": losses[0], "last loss": losses[-1]})
    return markdown_table(rows)


class HalfWorkload(Workload):
    """A network in some precision, compiled or not.

    Args:
        name, width, problem, device: as of :class:`Workload`.
        dtype: of autocast; None for float32.
        compiled: by ``torch.compile``.
    """

    def __init__(
        self, name: str, width: float, problem: Problem, device: torch.device, dtype: torch.dtype | None, compiled: bool
    ) -> None:
        super().__init__(name, width, problem, device)
        self.called = torch.compile(self.network) if compiled else self.network
        self.half = partial(torch.autocast, device.type, dtype=dtype, enabled=dtype is not None)

    def predict(self) -> torch.Tensor:
        """The network's output, in float32."""
        with self.half():
            out = self.called(self.image)
        return out.float()


def throughput(device: str, dims: int, batch: int, side: int, rounds: int, compiled: bool) -> str:
    """A table of images a second of a training step and of inference."""
    rows = []
    problem, place = Problem(dims, batch, side), torch.device(device)
    for precision, dtype in PRECISIONS.items():
        loads = {
            key: HalfWorkload(key, 2 if key.endswith("SwinUNETR") else 1.0, problem, place, dtype, compiled)
            for key in NETWORKS
        }
        speeds = {}
        for mode in MODES:
            seconds = alternating_seconds({key: load.work(mode) for key, load in loads.items()}, rounds, 2, place)
            speeds[mode] = {key: batch / statistics.median(found) for key, found in seconds.items()}
        for key, load in loads.items():
            rows.append({"network": key, "parameters": count_parameters(load.network), "precision": precision})
            rows[-1] |= {f"{mode}, images/s": speeds[mode][key] for mode in MODES}
        del loads
    shape, how = "x".join(map(str, problem.shape)), "compiled" if compiled else "eager"
    return f"{shape}, {how}, medians of {rounds} alternating rounds.\n\n{markdown_table(rows)}"


def reported(part: Callable[[], str]) -> tuple[str, bool]:
    """The text of a part, or its error, and whether it succeeded."""
    try:
        return part(), True
    except Exception as error:  # the other parts are worth having
        return f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", False


def main(argv: Sequence[str] | None = None) -> int:
    """Run all parts and write the report.

    Returns:
        1 if a part failed, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small inputs, one round, nothing compiled")
    parser.add_argument("--output", type=Path, help="also write the report to a file")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch can use; --device cpu --quick tries the script")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    card = torch.cuda.get_device_name() if args.device == "cuda" else "no GPU"
    length, side, rounds = (200, 32, 1) if args.quick else (4000, 128, 5)
    parts: dict[str, Callable[[], str]] = {
        "Scans": partial(scans, args.device, length),
        "VMambaU in half precision": partial(training, args.device, side),
    }
    for name, problem in (QUICK_PROBLEMS if args.quick else PROBLEMS).items():
        for compiled in (False,) if args.quick else (False, True):
            title = f"Throughput, {name}{', torch.compile' if compiled else ''}"
            parts[title] = partial(throughput, args.device, *problem, rounds, compiled)
    text, succeeded = [f"# {card}, torch {torch.__version__}"], True
    for title, part in parts.items():
        found, good = reported(part)
        succeeded &= good
        text.append(f"## {title}\n\n{found}")
        print(f"\n{text[-1]}", flush=True)
    if args.output:
        args.output.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return int(not succeeded)


if __name__ == "__main__":
    sys.exit(main())
