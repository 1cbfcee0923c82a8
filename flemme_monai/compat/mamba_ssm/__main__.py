"""Run a program that needs ``mamba_ssm``, with this package in its place where the real one does not work."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence

from .finder import install


def main(argv: Sequence[str] | None = None) -> None:
    """``PROGRAM.py ARGUMENTS`` or ``-m MODULE ARGUMENTS``, as Python takes them."""
    parser = argparse.ArgumentParser(prog="python -m flemme_monai.compat.mamba_ssm", description=__doc__)
    parser.add_argument("-m", dest="is_module", action="store_true", help="the program is a module's name")
    parser.add_argument("program", help="path of a Python file, or a module's name")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the program is given")
    args = parser.parse_args(argv)
    if not args.is_module and not os.path.isfile(args.program):
        parser.error(f"there is no file {args.program}; expected a Python program, or -m MODULE: mend its path")
    install()
    sys.argv = [args.program, *args.arguments]
    if args.is_module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(args.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(args.program)))
        runpy.run_path(args.program, run_name="__main__")


if __name__ == "__main__":
    main()
