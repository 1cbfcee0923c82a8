"""Read the state of a run that goes on, or say why it is not this run's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from ..utils.weights import read_checkpoint, unwrap_model

EMA = "ema"
NUMBERS = ("epoch", "best_metric", "best_metric_epoch")
OF_A_PARAMETER = ("exp_avg", "exp_avg_sq", "momentum_buffer")  # what optimizers keep in the shape of a parameter
SHOWN = 6


def read_run(path: Path, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read ``last.pt``.

    Args:
        path: the file.
        names: what this run goes on with; an average of weights is neither dropped nor begun.

    Returns:
        A state per name, and what else the file holds.

    Raises:
        ValueError: If it holds something else.
    """
    state = read_checkpoint(path)
    expected = ", ".join(sorted(names))
    mend = "give the settings that the run began with, or train without resume"
    if not isinstance(state, dict) or not set(names) <= state.keys() or (EMA in state) != (EMA in names):
        raise ValueError(f"{path} cannot be resumed: it holds {_contents(state)}; expected {expected}: {mend}")
    odd = next((name for name in sorted(names) if not isinstance(state[name], dict)), None)
    if odd is not None:
        raise ValueError(
            f"{path} cannot be resumed: its {odd} is a {type(state[odd]).__name__}; expected a state dict: {mend}"
        )
    trainer = state["trainer"]
    if not all(isinstance(trainer.get(name), int | float) for name in NUMBERS):
        raise ValueError(
            f"{path} cannot be resumed: its trainer holds {_contents(trainer)}; expected {', '.join(NUMBERS)} in "
            f"numbers: {mend}"
        )
    return state


def _contents(state: Any) -> str:
    """The first keys of a dict, or the kind of another value."""
    if not isinstance(state, dict):
        return f"a {type(state).__name__}"
    more = f" and {len(state) - SHOWN} more" if len(state) > SHOWN else ""
    return (", ".join(map(str, list(state)[:SHOWN])) or "nothing") + more


def frozen_names(network: torch.nn.Module) -> list[str]:
    """The names of the parameters that do not learn, of a network that may be wrapped."""
    return [name for name, p in unwrap_model(network).named_parameters() if not p.requires_grad]


def check_frozen(network: torch.nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Refuse to train other parameters, whose states an optimizer would mix up.

    Raises:
        ValueError: If others are frozen than when the run was saved.
    """
    own, saved = set(frozen_names(network)), set(map(str, state.get("names", [])))
    if own != saved:
        raise ValueError(
            f"the run in {path} froze {len(saved)} parameters and this one {len(own)} ({min(own ^ saved)} differs); "
            "expected the same: give --freeze as the run began with"
        )


def check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any], path: Path) -> None:
    """Refuse the state of another kind of optimizer, or of other parameters, which PyTorch loads without an error.

    Raises:
        ValueError: If it is one.
    """
    groups = state.get("param_groups")
    if not isinstance(groups, list) or not groups or not isinstance(groups[0], dict):
        raise ValueError(f"{path} holds no optimizer's state; expected its param_groups: train without resume")
    own, saved = set(optimizer.state_dict()["param_groups"][0]), set(groups[0])
    if own != saved:
        differ = ", ".join(sorted(own ^ saved))
        raise ValueError(f"{path} is of another optimizer ({differ} differ): use the one the run began with")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        for name, value in state.get("state", {}).get(index, {}).items():
            if name in OF_A_PARAMETER and value is not None and value.shape != parameter.shape:
                raise ValueError(
                    f"{path}: {name} of the optimizer's parameter {index} is {tuple(value.shape)}; expected "
                    f"{tuple(parameter.shape)}: use the optimizer and the parameter groups that the run began with"
                )
