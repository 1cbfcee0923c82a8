"""Measure what the collection costs: its networks beside MONAI's, diffusion, scans, waiting for data, and importing.

flemme-monai benchmark networks --output networks.md
flemme-monai benchmark encoders --output encoders.md
flemme-monai benchmark diffusion --output diffusion.md
flemme-monai benchmark scan --output scan.md
flemme-monai benchmark mamba --output mamba.md
flemme-monai benchmark linear --output linear.md
flemme-monai benchmark loader sem_unet --set dataset_dir=DIR batch_size=4
flemme-monai benchmark imports
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from . import benchmark_diffusion, benchmark_linear, benchmark_mamba, benchmark_scans
from .benchmark_networks import GROUPS, compare, compare_encoders
from .bundle_files import find_bundle
from .measure import machine
from .places import environment


def networks(args: argparse.Namespace) -> None:
    """Our backbones beside MONAI's networks at equal numbers of parameters."""
    report(*compare(args), args.output)


def encoders(args: argparse.Namespace) -> None:
    """Our U-shaped encoders side by side at equal depth and widths."""
    report(*compare_encoders(args), args.output)


def diffusion(args: argparse.Namespace) -> None:
    """Our denoiser beside MONAI's, samples a second, and what a sampling step costs beside the network."""
    report(*benchmark_diffusion.compare(args), args.output)


def scan(args: argparse.Namespace) -> None:
    """Our selective scans beside others'."""
    report(*benchmark_scans.compare(args), args.output)


def mamba(args: argparse.Namespace) -> None:
    """What stands in for mamba_ssm's blocks beside what others run on a CPU."""
    report(*benchmark_mamba.compare(args), args.output)


def linear(args: argparse.Namespace) -> None:
    """Linear layers as matrix products beside 1x1 convolutions, with this processor's instructions and with AVX2."""
    torch.set_num_threads(args.threads)
    report(*benchmark_linear.compare(args), args.output)


def setting(text: str) -> tuple[str, str]:
    """A setting NAME=VALUE of a bundle as a pair."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE.")
    return name, value


def loader(args: argparse.Namespace) -> None:
    """The share of its epochs that a bundle's training spends waiting for data."""
    bundle = find_bundle(args.bundle)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"bundle_root": bundle, "ckpt_dir": folder, "output_dir": folder, "epochs": args.epochs}
        settings |= dict(args.set)
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "train.json")]
        command += [part for key, value in settings.items() for part in (f"--{key}", str(value))]
        if subprocess.run(command, env=environment(), stdout=sys.stderr).returncode:
            raise RuntimeError(f"{bundle.name} did not train to its end: its own message stands above.")
        with (Path(folder) / "metrics.csv").open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
    rows = [{name: float(row[name]) for name in ("epoch", "seconds", "waiting")} for row in table]
    later = [row["waiting"] for row in rows[1:]] or [rows[0]["waiting"]]
    text = f"{bundle.name}: {100 * rows[0]['waiting']:.1f}% of the first epoch (which fills the cache) and "
    text += f"{100 * statistics.median(later):.1f}% of a later one (median of {len(later)}) is spent waiting for data."
    report(text, {"bundle": bundle.name, "epochs": rows}, args.output)


IMPORTS = """
import time, importlib, pkgutil
start = time.perf_counter()
import monai
base = time.perf_counter()
import flemme_monai
package = time.perf_counter()
for module in pkgutil.iter_modules(flemme_monai.__path__, 'flemme_monai.'):
    importlib.import_module(module.name)
print(base - start, package - base, time.perf_counter() - base)
"""


def imports(args: argparse.Namespace) -> None:
    """What `import flemme_monai` adds to `import monai`."""
    runs = []
    command = [sys.executable, "-c", IMPORTS]
    for _ in range(args.repeats):
        done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
        runs.append([float(seconds) for seconds in done.stdout.split()[-3:]])
    base, package, parts = (statistics.median(column) for column in zip(*runs))
    text = f"import monai takes {base:.2f} s; import flemme_monai adds {package:.3f} s, all its parts {parts:.3f} s "
    text += f"(medians of {args.repeats} processes)."
    report(text, {"monai s": base, "flemme_monai s": package, "all parts s": parts, "runs": runs}, args.output)


def report(text: str, content: dict, output: Path | None) -> None:
    """Print a result and the machine; with an output path `x.md`, also write it there and as `x.json`."""
    text, content = f"{machine()}\n\n{text}", {"machine": machine(), **content}
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def timed(command: argparse.ArgumentParser, repeats: int, warmup: int) -> None:
    """The options of a measurement that compares times, with its defaults."""
    command.add_argument("--repeats", type=int, default=repeats, help="timed rounds")
    command.add_argument("--warmup", type=int, default=warmup, help="rounds before")
    command.add_argument("--quick", action="store_true", help="small inputs: does it run?")
    command.add_argument("--threads", type=int, default=torch.get_num_threads())
    command.add_argument("--output", type=Path, help="write NAME.md and NAME.json")


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the measurement named on the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(
        required=True, metavar="networks | encoders | diffusion | scan | mamba | linear | loader | imports"
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"

    command = commands.add_parser("networks", help=networks.__doc__)
    command.add_argument("--spatial_dims", type=int, nargs="+", choices=(2, 3), default=[2, 3])
    command.add_argument("--groups", nargs="+", choices=tuple(GROUPS), default=list(GROUPS))
    command.add_argument("--device", default=device)
    timed(command, repeats=9, warmup=2)
    command.set_defaults(run=networks)

    command = commands.add_parser("encoders", help=encoders.__doc__)
    command.add_argument("--device", default=device)
    timed(command, repeats=5, warmup=1)
    command.set_defaults(run=encoders)

    command = commands.add_parser("diffusion", help=diffusion.__doc__)
    parts = tuple(benchmark_diffusion.PARTS)
    command.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    command.add_argument("--spatial_dims", type=int, nargs="+", choices=(2, 3), default=[2, 3], help="of the denoisers")
    command.add_argument("--device", default=device)
    timed(command, repeats=5, warmup=1)
    command.set_defaults(run=diffusion)

    command = commands.add_parser("scan", help=scan.__doc__)
    command.add_argument("--longest", type=int, default=4096, help="steps up to which the recurrence is measured")
    timed(command, repeats=5, warmup=1)
    command.set_defaults(run=scan)

    command = commands.add_parser("mamba", help=mamba.__doc__)
    command.add_argument("--longest", type=int, default=4096, help="steps up to which scans step by step are measured")
    timed(command, repeats=7, warmup=1)
    command.set_defaults(run=mamba)

    command = commands.add_parser("linear", help=linear.__doc__)
    timed(command, repeats=60, warmup=3)
    command.set_defaults(run=linear)

    command = commands.add_parser("loader", help=loader.__doc__)
    command.add_argument("bundle", help="its name in bundles/, or its path")
    command.add_argument("--epochs", type=int, default=4)
    command.add_argument(
        "--set", type=setting, nargs="+", default=[], metavar="NAME=VALUE", help="settings of the bundle"
    )
    command.add_argument("--output", type=Path, help="write NAME.md and NAME.json")
    command.set_defaults(run=loader)

    command = commands.add_parser("imports", help=imports.__doc__)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--output", type=Path, help="write NAME.md and NAME.json")
    command.set_defaults(run=imports)

    args = parser.parse_args(argv)
    args.run(args)
    return 0
