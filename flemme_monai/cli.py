"""The command ``flemme-monai``, also ``python -m flemme_monai``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

COMMANDS = {
    "list": "the pairs of which a bundle can be made; --trained: the bundles with weights",
    "make": "a bundle in a folder: make PAIR FOLDER [--SETTING VALUE ...]",
    "plan": "a bundle planned from a data set: spacing, patch, stages, batch, with reasons",
    "train-folds": "a bundle on each fold of a data set, and what the folds reach",
    "ensemble": "one predictor of trained folds: their mean, mirrored, and cleaned where that helps",
    "from-flemme": "a bundle of a training's config of Flemme: from-flemme CONFIG.yaml FOLDER",
    "check": "bundles as the MONAI model zoo does, and more",
    "package": "bundles as the zoo hosts them",
    "compare": "bundles, trained on the same data with the same budget",
    "report": "a comparison as one page of HTML",
    "sensitivity": "what a bundle reaches with other learning rates, batches and image sizes",
    "robustness": "Dice of trained bundles on corrupted images",
    "overfit": "networks that learn four images by heart, in how many steps",
    "benchmark": "what networks, scans, sampling and loading cost",
    "demo": "a web page on which trained bundles are tried",
    "federate": "a job of NVFlare: a bundle trained by clients that keep their data",
    "export": "networks of bundles to ONNX",
    "clean-cache": "removes the cases that trainings keep on disk",
    "gi-sample": "a small data set of phantoms in the layout of Kaggle's GI tract challenge",
}


def run(function: Callable[..., Any], argv: Sequence[str] | None = None, name: str | None = None) -> None:
    """Call a function with the words of a command line, as ``monai.bundle`` does; an error is one line.

    Args:
        function: the function.
        argv: the words; those of this program by default.
        name: the program's name in its help; its file's by default.
    """
    import fire

    words = list(sys.argv[1:] if argv is None else argv)
    if "--" not in words and {"-h", "--help"} & set(words):  # which a function of any settings would take for one
        words = [word for word in words if word not in ("-h", "--help")] + ["--", "--help"]
    with _one_line_errors():
        fire.Fire(function, words, name=name)


def run_program(command: str, argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run a command that reads its words itself, and end with its exit code; an error is one line.

    Args:
        command: the name of its module in :mod:`flemme_monai.commands`.
        argv: the words; those of this program by default.
        prog: the program's name in its help; its file's by default.
    """
    with _one_line_errors():
        sys.exit(import_module(f".commands.{command}", __package__).main(argv, prog))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """As :func:`flemme_monai.utils.one_line_errors`, which imports torch, where there is an error."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        from .utils import one_line_errors

        with one_line_errors():
            raise


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that is named first."""
    command, *words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        print("usage: flemme-monai COMMAND ...\n")
        print("\n".join(f"  {name:11} {text}" for name, text in COMMANDS.items()))
        print("\nflemme-monai COMMAND --help says what a command takes.")
    elif command not in COMMANDS:
        from .utils.errors import did_you_mean

        print(f"flemme-monai: no command {command!r}; {did_you_mean(command, list(COMMANDS))}", file=sys.stderr)
        sys.exit(2)
    elif command in ("list", "make"):
        from .commands.make import list_bundles, make

        functions: dict[str, Callable[..., str]] = {"list": list_bundles, "make": make}
        run(functions[command], words, f"flemme-monai {command}")
    else:
        run_program(command.replace("-", "_"), words, f"flemme-monai {command}")
