"""Train networks on four images until they know them by heart: the cheapest sign that a network can learn.

    flemme-monai overfit unetpp segnet
    flemme-monai overfit networks --steps 400 --output overfit.csv

A network of `sem_` bundles, its channels scaled to a number of parameters, sees the same four phantoms at every step.
Printed is the step after which their mean Dice in evaluation, with the running statistics of batch norms, reached
the aim.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from monai.bundle import ConfigParser
from torch import nn

from ..data import phantoms
from ..io import write_csv
from ..metrics import OverlapMetric
from ..recipes import make_bundle
from ..registry import ENCODERS, NETWORKS
from ..utils import writable_dir
from .compare import NETWORK_ROWS as ALL
from .matched import Match, matched_settings
from .measure import count_parameters, machine, markdown_table

AIM = 0.95
SIDE = 128
IMAGES = 4
EVERY = 10  # steps between two evaluations


@dataclass(frozen=True)
class Overfitted:
    """How a network learned four images.

    Args:
        steps: after which the aim was reached; None if it was not.
        dice: the last mean Dice of the foreground.
        seconds: of the training.
        parameters: of the network.
    """

    steps: int | None
    dice: float
    seconds: float
    parameters: int


def overfit(key: str, steps: int, parameters: int, learning_rate: float = 2e-3, seed: int = 0) -> Overfitted:
    """Train the network of a ``sem_`` bundle on four phantoms of 128x128 pixels with an organ.

    Args:
        key: of an encoder or network from elsewhere.
        steps: most optimizer steps.
        parameters: the network is scaled to about that number, if it has more.
        learning_rate: of AdamW.
        seed: of weights.
    """
    settings, _, _ = matched_settings(f"sem_{key}", {"num_classes": 2}, Match("parameters", parameters, at_most=True))
    config = ConfigParser(json.loads(make_bundle(f"sem_{key}", settings=settings)["configs/train.json"]))
    torch.manual_seed(seed)
    network, loss = config.get_parsed_content("network_def"), config.get_parsed_content("loss")
    cases = phantoms(2, 1, 2, (SIDE, SIDE))[:IMAGES]
    image = torch.stack([case["image"].as_tensor() for case in cases])
    image = (image - image.mean()) / image.std()
    image = image.expand(-1, config["in_channels"], -1, -1)  # for networks of slices, a slice is its neighbours too
    label = torch.stack([case["label"].as_tensor() for case in cases])
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    start, dice = perf_counter(), 0.0
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss(network.train()(image), label).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % EVERY == 0:
            dice = mean_dice(network, image, label)
            if dice >= AIM:
                return Overfitted(step, dice, perf_counter() - start, count_parameters(network))
    return Overfitted(None, dice, perf_counter() - start, count_parameters(network))


@torch.no_grad()
def mean_dice(network: nn.Module, image: torch.Tensor, label: torch.Tensor) -> float:
    """The mean Dice of the foreground of images (B, C, H, W) and label maps (B, 1, H, W)."""
    metric = OverlapMetric(num_classes=2, score="dice")
    metric(network.eval()(image).argmax(1, keepdim=True), label)
    return float(metric.aggregate())


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Overfit the networks named on the command line.

    Returns:
        1 if one did not reach the aim, else 0.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    known = (*NETWORKS, *ENCODERS)
    parser.add_argument(
        "networks", nargs="+", choices=(*known, ALL), metavar="NETWORK", help=f"by key; {ALL!r} for all from elsewhere"
    )
    parser.add_argument("--steps", type=int, default=200, help="most steps (default: 200)")
    parser.add_argument("--parameters", type=int, default=300_000, help="of larger networks, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a CSV of what is printed")
    args = parser.parse_args(argv)
    if args.output:
        writable_dir(args.output.parent)
    rows = []
    for key in [k for name in args.networks for k in (NETWORKS if name == ALL else [name])]:
        found = overfit(key, args.steps, args.parameters, seed=args.seed)
        rows.append({"network": key, "parameters": found.parameters, "steps": found.steps or "not reached"})
        rows[-1] |= {"dice": found.dice, "seconds": found.seconds}
        rows[-1] = {name: round(v, 3) if isinstance(v, float) else v for name, v in rows[-1].items()}
        print(rows[-1], flush=True)
        if args.output:
            write_csv(args.output, rows[0], [row.values() for row in rows])
    print(f"\nDice of at least {AIM} on {IMAGES} phantoms; {machine()}\n\n{markdown_table(rows)}")
    return int(any(row["steps"] == "not reached" for row in rows))
