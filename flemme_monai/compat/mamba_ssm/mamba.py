"""``mamba_ssm.modules.mamba_simple``: the Mamba block, with the directions of its forks.

Gu and Dao 2023; two directions: Vim (Zhu et al., ICML 2024); three: SegMamba (Xing et al., MICCAI 2024). Names of
parameters are theirs, so that their weights fit.

Glossary: B batch, L steps, C channels, E inner channels, N states per channel, R rank of the step sizes, W width of
the convolution.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...ops import prepare_scans, selective_scan
from .convolution import causal_conv1d_update, convolve_tokens
from .inference import CachedMixer, StateCache
from .scans import scan_both_ways, scan_tokens
from .state_update import selective_state_update

# suffixes of the directions that have parameters of their own
DIRECTIONS = {"none": ("",), "v1": ("",), "v2": ("", "_b"), "v3": ("", "_b", "_s")}


def mark(parameter: nn.Parameter, name: str) -> nn.Parameter:
    """Set what networks' initialisation and optimizers ask a parameter for."""
    setattr(parameter, name, True)
    return parameter


class Mamba(CachedMixer):
    """A selective scan between projections, gated.

    Args:
        d_model: number of channels C.
        d_state: states per channel N.
        d_conv: width of the convolution W.
        expand: E is this times C.
        dt_rank: rank of the step sizes R; ``auto``: C / 16, rounded up.
        dt_min, dt_max: smallest and largest step size at the start.
        dt_init: ``random`` or ``constant`` weights of the step sizes.
        dt_scale: their scale.
        dt_init_floor: lower bound of the step size at the start.
        conv_bias: whether the convolution has a bias.
        bias: whether the projections have a bias.
        use_fast_path: no effect: there is one path.
        layer_idx: number of the layer, for step-wise inference.
        device, dtype: of the parameters.
        bimamba_type: ``none``; ``v1``: also backwards, with decays of its own; ``v2``: backwards, with parameters of
            its own (Vim); ``v3``: and a third time, through all slices at once (SegMamba).
        bimamba: the same as ``v2`` (VideoMamba).
        nslices: number of slices of ``v3``; must divide the number of steps.
        if_devide_out, if_divide_out: whether ``v2`` takes the mean of both directions, not the sum (two spellings).
        init_layer_scale: initial factor of the output, by channel; None: no factor.

    Raises:
        ValueError: If a setting is unknown.
    """

    conv1d: nn.Conv1d
    x_proj: nn.Linear
    dt_proj: nn.Linear
    A_log: nn.Parameter
    D: nn.Parameter

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: float = 2,
        dt_rank: int | str = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init: str = "random",
        dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        use_fast_path: bool = True,
        layer_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        bimamba_type: str = "none",
        bimamba: bool = False,
        nslices: int = 5,
        if_devide_out: bool = False,
        if_divide_out: bool = False,
        init_layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        kind = "v2" if bimamba else bimamba_type
        if kind not in DIRECTIONS:
            raise ValueError(f"bimamba_type is {bimamba_type!r}; expected one of {', '.join(DIRECTIONS)}")
        if dt_init not in ("random", "constant"):
            raise ValueError(f"dt_init is {dt_init!r}; expected 'random' or 'constant'")
        prepare_scans()
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if isinstance(dt_rank, str) else dt_rank
        self.use_fast_path, self.layer_idx = use_fast_path, layer_idx
        self.bimamba_type, self.nslices = kind, nslices
        self.has_mean_out = if_devide_out or if_divide_out
        self.activation, self.act = "silu", nn.SiLU()
        here: dict[str, Any] = {"device": device, "dtype": dtype}
        self.gamma = (
            None if init_layer_scale is None else nn.Parameter(init_layer_scale * torch.ones(d_model, device=device))
        )
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=bias, **here)
        for direction in DIRECTIONS[kind]:
            conv = nn.Conv1d(
                self.d_inner, self.d_inner, d_conv, padding=d_conv - 1, groups=self.d_inner, bias=conv_bias, **here
            )
            self.add_module(f"conv1d{direction}", conv)
            self.add_module(
                f"x_proj{direction}", nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False, **here)
            )
            self.add_module(f"dt_proj{direction}", nn.Linear(self.dt_rank, self.d_inner, **here))
            self.register_parameter(f"A{direction}_log", self._decay(device))
            skip = nn.Parameter(torch.ones(self.d_inner, device=device))
            self.register_parameter(f"D{direction}", mark(skip, "_no_weight_decay"))
        if kind == "v1":
            self.A_b_log = self._decay(device)
        self._initialise_steps(dt_min, dt_max, dt_init, dt_scale, dt_init_floor)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias, **here)

    def _decay(self, device: torch.device | str | None) -> nn.Parameter:
        rows = torch.arange(1.0, self.d_state + 1, device=device).log().repeat(self.d_inner, 1)
        return mark(nn.Parameter(rows), "_no_weight_decay")

    @torch.no_grad()
    def _initialise_steps(self, low: float, high: float, init: str, scale: float, floor: float) -> None:
        """Step sizes of the first direction: softplus of the bias is log-uniform from ``low`` to ``high``."""
        layer = self.dt_proj
        spread = self.dt_rank**-0.5 * scale
        if init == "constant":
            nn.init.constant_(layer.weight, spread)
        else:
            nn.init.uniform_(layer.weight, -spread, spread)
        dt = torch.empty_like(layer.bias).uniform_(math.log(low), math.log(high)).exp().clamp_min(floor)
        layer.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        mark(layer.bias, "_no_reinit")

    def _parts(self, x: torch.Tensor, direction: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Convolved tokens and step sizes (B, L, E), B and C (B, L, N), of ``x`` (B, L, E)."""
        conv, x_proj, dt_proj = (getattr(self, f"{name}{direction}") for name in ("conv1d", "x_proj", "dt_proj"))
        x = F.silu(convolve_tokens(x, conv.weight.flatten(1), conv.bias))
        dt, B, C = x_proj(x).split([self.dt_rank, self.d_state, self.d_state], -1)
        return x, F.linear(dt, dt_proj.weight), B, C

    def _scanned(self, x: torch.Tensor, direction: str = "") -> torch.Tensor:
        """The scan of ``x`` (B, L, E), in the order that it is in."""
        x, delta, B, C = self._parts(x, direction)
        A = -self.get_parameter(f"A{direction}_log").float().exp()
        D, bias = self.get_parameter(f"D{direction}"), getattr(self, f"dt_proj{direction}").bias
        return scan_tokens(x, delta, A, B, C, D, bias)

    def _mixed(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of all directions' scans of ``x`` (B, L, E)."""
        if self.bimamba_type == "v1":
            x, delta, B, C = self._parts(x, "")
            A, A_b = (-v.float().exp() for v in (self.A_log, self.A_b_log))
            return scan_both_ways(x, delta, A, A_b, B, C, self.D, self.dt_proj.bias)
        y = self._scanned(x)
        if self.bimamba_type in ("v2", "v3"):
            y = y + self._scanned(x.flip(1), "_b").flip(1)
        if self.bimamba_type == "v2" and self.has_mean_out:
            y = y / 2
        if self.bimamba_type == "v3":
            steps = x.shape[1]
            if steps % self.nslices:
                raise ValueError(
                    f"nslices is {self.nslices}; expected a divisor of the {steps} steps: choose it by the image's size"
                )
            # step i of slice s, s * (L / n) + i, becomes step i * n + s
            slices = x.unflatten(1, (self.nslices, -1)).transpose(1, 2).flatten(1, 2)
            y = y + self._scanned(slices, "_s").unflatten(1, (-1, self.nslices)).transpose(1, 2).flatten(1, 2)
        return y

    def forward(self, hidden_states: torch.Tensor, inference_params: StateCache | None = None) -> torch.Tensor:
        """Mix the steps of ``hidden_states`` (B, L, C).

        Args:
            hidden_states: the sequence; or, after the first call with ``inference_params``, its next step.
            inference_params: states between steps, an ``InferenceParams``; None: the sequence is whole.

        Returns:
            (B, L, C).

        Raises:
            ValueError: If slices do not fill the sequence, or steps are asked of a block that also goes backwards.
        """
        if inference_params is not None:
            if self.bimamba_type != "none":
                raise ValueError(
                    f"bimamba_type is {self.bimamba_type!r} with inference_params; expected 'none': a scan that goes "
                    "backwards needs the whole sequence"
                )
            states = self._get_states_from_cache(inference_params, hidden_states.shape[0])
            if inference_params.seqlen_offset > 0:
                return self.step(hidden_states, *states)[0]
            return self._begin(hidden_states, *states)
        x, z = self.in_proj(hidden_states).chunk(2, -1)  # (B, L, E) each
        return self._projected(self._mixed(x), z)

    def _projected(self, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        out = self.out_proj(y.to(z.dtype) * F.silu(z))
        return out if self.gamma is None else out * self.gamma

    def _begin(self, hidden_states: torch.Tensor, conv_state: torch.Tensor, ssm_state: torch.Tensor) -> torch.Tensor:
        """The first steps, whose last states are kept."""
        x, z = self.in_proj(hidden_states).chunk(2, -1)
        conv_state.copy_(F.pad(x.mT, (self.d_conv - x.shape[1], 0)))
        x, delta, B, C = self._parts(x, "")
        A = -self.A_log.float().exp()
        options = (self.D, None, self.dt_proj.bias, True, True)
        y, last = selective_scan(x.mT, delta.mT, A, B.mT, C.mT, *options)
        ssm_state.copy_(last)
        return self._projected(y.mT, z)

    def step(
        self, hidden_states: torch.Tensor, conv_state: torch.Tensor, ssm_state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step (B, 1, C); the states change in place.

        Returns:
            (B, 1, C) and both states.

        Raises:
            ValueError: If there are more steps.
        """
        if hidden_states.shape[1] != 1:
            raise ValueError(f"step: {hidden_states.shape[1]} steps are given; expected one")
        x, z = self.in_proj(hidden_states.squeeze(1)).chunk(2, -1)  # (B, E) each
        x = causal_conv1d_update(x, conv_state, self.conv1d.weight.flatten(1), self.conv1d.bias, self.activation)
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], -1)
        dt = F.linear(dt, self.dt_proj.weight)
        A = -self.A_log.float().exp()
        y = selective_state_update(ssm_state, x, dt, A, B, C, self.D, None, self.dt_proj.bias, True)
        return self._projected(y, z).unsqueeze(1), conv_state, ssm_state

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Empty states: the last steps (B, E, W) and the scan's state (B, E, N)."""
        like = self.conv1d.weight
        sizes = (batch_size, self.d_inner, self.d_conv), (batch_size, self.d_inner, self.d_state)
        conv_state, ssm_state = (like.new_zeros(size, dtype=dtype) for size in sizes)
        return conv_state, ssm_state
