"""Where the weights that a training begins with are found."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import ignite.distributed as idist

from ..data.split_record import SPLIT_FILE
from ..utils.bundle import find_config
from ..utils.files import PART, naming, user_path
from ..utils.record import RECORD
from ..utils.weights import BEST, LAST, PRETRAINED, SAFETENSORS

KEPT = "pretrained"
_logger = logging.getLogger(__name__)


def find_weights(
    pretrained: bool | str | os.PathLike | None,
    bundle_root: str | os.PathLike,
    ckpt_dir: str | os.PathLike,
    weights_dir: str = "models",
    resume: bool = False,
) -> Path | None:
    """The file of weights that a training begins with.

    Args:
        pretrained: true for the bundle's own, those that it came with before those of a run; a file ``.pt`` or
            ``.safetensors``; the folder of a bundle, or the name of one beside this one; false or None for none.
        bundle_root: folder of this bundle.
        ckpt_dir: folder of this run's weights, where those of a bundle without any are looked for.
        weights_dir: folder of the weights in a bundle.
        resume: the run goes on with weights of its own, so none are looked for.

    Returns:
        The file; None for none.

    Raises:
        FileNotFoundError: If there is none, or no bundle of that name.
        ValueError: If it is no file of weights.
    """
    word = str(pretrained).lower()
    if word in ("none", "false", ""):
        return None
    if resume:
        if idist.get_rank() == 0:
            _logger.info("pretrained has no effect: the run goes on with its own weights, as resume says")
        return None
    root = user_path(bundle_root)
    if word == "true":
        folders = [root / weights_dir, user_path(ckpt_dir)]
        found = next(filter(None, map(_weights_in, folders)), None)
        if found is None:
            raise FileNotFoundError(
                f"pretrained is true and there is no {BEST} in {' or '.join(map(str, dict.fromkeys(folders)))}: "
                "name a file of weights or another bundle"
            )
        return found
    path = user_path(pretrained)
    if path.is_file():
        if path.suffix not in (".pt", ".pth", SAFETENSORS):
            raise ValueError(f"pretrained is {path}; expected a file .pt or {SAFETENSORS}, or a bundle")
        return path
    if path.name == PRETRAINED and not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: run train.json with pretrain.json over it first, which writes it"
        )
    bundle = next((b for b in (path, root.resolve().parent / path) if find_config(b / "configs", "metadata")), None)
    if bundle is None:
        found_there = "a folder that is no bundle" if path.is_dir() else "neither a file nor a bundle"
        raise FileNotFoundError(
            f"pretrained is {path}, which is {found_there}; expected true, a file .pt or {SAFETENSORS}, the folder of "
            f"a bundle, or the name of one in {root.resolve().parent}"
        )
    weights = _weights_in(bundle / weights_dir)
    if weights is None:
        raise FileNotFoundError(
            f"pretrained is the bundle {bundle}, which has no {weights_dir}/{BEST}: train it first, or name another"
        )
    return weights


def _weights_in(folder: Path) -> Path | None:
    """The weights in a folder: those that training has kept before its own; without either a pretrained encoder."""
    places = (folder / KEPT / BEST, folder / BEST, folder / PRETRAINED)
    return next((path for path in places if path.is_file()), None)


def keep_weights(folder: Path) -> None:
    """Keep the weights that a bundle came with in ``pretrained/``, since a training replaces them.

    Weights without a ``last.pt`` are of no run in this folder. With them their ``network.json`` and ``split.json`` are
    kept, in one step.

    Args:
        folder: folder of the weights, held by this run.
    """
    kept = folder / KEPT
    if not (folder / BEST).is_file() or (folder / LAST).exists() or kept.exists():
        return
    part = folder / f"{PART}{os.getpid()}_{KEPT}"
    with naming(kept):
        try:
            part.mkdir(exist_ok=True)
            for name in (BEST, RECORD, SPLIT_FILE):
                if (folder / name).is_file():
                    shutil.copy2(folder / name, part / name)
            part.rename(kept)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise
    _logger.info("the weights that were in %s are kept in %s", folder, kept)
