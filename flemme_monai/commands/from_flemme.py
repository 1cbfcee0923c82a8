"""Make a bundle of a config of Flemme's training.

    flemme-monai from-flemme train_unet_sem.yaml liver

What has no counterpart is named, and nothing is made; ``--leave_out`` makes the bundle without it. Lines after the
first say what is done otherwise than in the original.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..flemme_configs import convert, read_config
from ..recipes import make_bundle, write
from .bundle_files import bundle_name


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command.

    Args:
        argv: the words; those of this program by default.
        prog: the program's name in its help.

    Returns:
        The exit code.

    Raises:
        ValueError: If something in the config has no counterpart, or the folder holds something else.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="YAML file of a training of Flemme")
    parser.add_argument("folder", help="the bundle's folder, whose name it takes")
    parser.add_argument("--leave_out", action="store_true", help="make the bundle without what has no counterpart")
    words = parser.parse_args(argv)
    target = Path(words.folder)
    name = target.resolve().name
    found = convert(read_config(words.config))
    if found.missing and not words.leave_out:
        listed = "".join(f"\n  {line}" for line in found.missing)
        raise ValueError(
            f"{words.config}: {len(found.missing)} of its entries have no counterpart; expected others, or --leave_out "
            f"to do without:{listed}"
        )
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and bundle_name(target) != name)):
        raise ValueError(f"{target} is there and no bundle called {name!r}; expected a new folder: give another")
    write(target, make_bundle(found.pair, name, found.settings, found.of_workflows))
    print(f"made {name} ({found.pair}) in {target}")
    for line in found.notes:
        print(f"  otherwise: {line}")
    for line in found.missing:
        print(f"  left out: {line}")
    return 0
