"""A progress bar for terminals."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

BAR = "{desc} {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def terminal_bar(total: int, name: str, show: bool = True) -> tqdm:
    """A bar that the first process shows on a terminal, nothing elsewhere, and that leaves no line behind.

    Args:
        total: steps.
        name: what it is called.
        show: false for nothing anywhere.

    Returns:
        The bar, a context manager.
    """
    import ignite.distributed as idist
    from tqdm import tqdm

    size = shutil.get_terminal_size()
    return tqdm(
        total=total,
        desc=name,
        bar_format=BAR,
        ncols=size.columns,  # tqdm shows nothing on a terminal that does not know its size
        nrows=size.lines,
        leave=False,
        disable=not (show and sys.stderr.isatty() and idist.get_rank() == 0),
    )
