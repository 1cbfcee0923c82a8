"""``mamba_ssm.modules.mamba2``: the Mamba-2 block (Dao and Gu, ICML 2024), with its names of parameters.

Glossary: B batch, L steps, C channels, E inner channels, H heads of P channels, G groups of heads, N states, W width of
the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .convolution import causal_conv1d_update
from .gated_norms import RMSNorm
from .inference import CachedMixer, StateCache
from .mamba import mark
from .scans import refuse_packed
from .ssd import mamba_split_conv1d_scan_combined
from .state_update import selective_state_update


class Mamba2(CachedMixer):
    """A scan with one decay per head between projections, gated and normalised.

    Args:
        d_model: number of channels C.
        d_state: states N.
        d_conv: width of the convolution W.
        conv_init: bound of the convolution's weights at the start; None: PyTorch's.
        expand: E is this times C.
        headdim: channels of a head P; must divide the channels that are scanned.
        d_ssm: number of inner channels that are scanned, the others are gated only; None: E.
        ngroups: number of groups of heads G, each with a B and C of its own.
        A_init_range: range of the decays at the start.
        D_has_hdim: whether the skip has a factor for each channel, not for each head.
        rmsnorm: whether the output is normalised.
        norm_before_gate: whether the gate follows the norm.
        dt_min, dt_max: smallest and largest step size at the start.
        dt_init_floor: lower bound of the step size at the start.
        dt_limit: range of the step sizes.
        bias: whether the projections have a bias.
        conv_bias: whether the convolution has a bias.
        chunk_size, use_mem_eff_path: no effect: results do not depend on them.
        layer_idx: number of the layer, for step-wise inference.
        device, dtype: of the parameters.

    Raises:
        ValueError: If heads do not fill the channels, or groups not the heads.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        d_conv: int = 4,
        conv_init: float | None = None,
        expand: int = 2,
        headdim: int = 64,
        d_ssm: int | None = None,
        ngroups: int = 1,
        A_init_range: Sequence[float] = (1, 16),
        D_has_hdim: bool = False,
        rmsnorm: bool = True,
        norm_before_gate: bool = False,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        dt_limit: tuple[float, float] = (0.0, math.inf),
        bias: bool = False,
        conv_bias: bool = True,
        chunk_size: int = 256,
        use_mem_eff_path: bool = True,
        layer_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.d_model, self.d_state, self.d_conv, self.expand = d_model, d_state, d_conv, expand
        self.d_inner = expand * d_model
        self.d_ssm = self.d_inner if d_ssm is None else d_ssm
        self.headdim, self.ngroups, self.nheads = headdim, ngroups, self.d_ssm // headdim
        if self.d_ssm % headdim or self.nheads % ngroups:
            raise ValueError(
                f"headdim is {headdim} and ngroups {ngroups}; expected heads that fill the {self.d_ssm} scanned "
                "channels, and groups that divide the heads"
            )
        self.D_has_hdim, self.rmsnorm, self.norm_before_gate, self.dt_limit = (
            D_has_hdim,
            rmsnorm,
            norm_before_gate,
            dt_limit,
        )
        self.chunk_size, self.use_mem_eff_path, self.layer_idx = chunk_size, use_mem_eff_path, layer_idx
        self.activation, self.act = "silu", nn.SiLU()
        here: dict[str, Any] = {"device": device, "dtype": dtype}
        conv_dim = self.d_ssm + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner + 2 * ngroups * d_state + self.nheads, bias=bias, **here)
        self.conv1d = nn.Conv1d(conv_dim, conv_dim, d_conv, padding=d_conv - 1, groups=conv_dim, bias=conv_bias, **here)
        if conv_init is not None:
            nn.init.uniform_(self.conv1d.weight, -conv_init, conv_init)
        dt = torch.empty(self.nheads, **here).uniform_(math.log(dt_min), math.log(dt_max)).exp()
        dt = dt.clamp_min(dt_init_floor)
        self.dt_bias = mark(nn.Parameter(dt + torch.log(-torch.expm1(-dt))), "_no_weight_decay")
        decay = torch.empty(self.nheads, device=device).uniform_(*A_init_range).log().to(dtype)
        self.A_log = mark(nn.Parameter(decay), "_no_weight_decay")
        skip = torch.ones(self.d_ssm if D_has_hdim else self.nheads, device=device)
        self.D = mark(nn.Parameter(skip), "_no_weight_decay")
        if rmsnorm:
            self.norm = RMSNorm(self.d_ssm, 1e-5, self.d_ssm // ngroups, norm_before_gate, **here)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias, **here)

    def _skip(self) -> torch.Tensor:
        return self.D.view(-1, self.headdim) if self.D_has_hdim else self.D

    def forward(
        self,
        u: torch.Tensor,
        seqlen: int | None = None,
        seq_idx: torch.Tensor | None = None,
        cu_seqlens: torch.Tensor | None = None,
        inference_params: StateCache | None = None,
    ) -> torch.Tensor:
        """Mix the steps of ``u``.

        Args:
            u: the sequence (B, L, C), or (B * L, C) with ``seqlen``; or, after the first call with
                ``inference_params``, its next step.
            seqlen: L; None: u says it.
            seq_idx, cu_seqlens: None.
            inference_params: states between steps, an ``InferenceParams``; None: the sequence is whole.

        Returns:
            As u.

        Raises:
            NotImplementedError: If ``seq_idx`` or ``cu_seqlens`` mark packed sequences.
        """
        refuse_packed("Mamba2", seq_idx, cu_seqlens)
        rows = u if seqlen is None else u.unflatten(0, (-1, seqlen))
        states = None
        if inference_params is not None:
            states = self._get_states_from_cache(inference_params, rows.shape[0])
            if inference_params.seqlen_offset > 0:
                return self.step(u, *states)[0]
        zxbcdt = self.in_proj(rows)
        y, last = mamba_split_conv1d_scan_combined(
            zxbcdt,
            self.conv1d.weight.flatten(1),
            self.conv1d.bias,
            self.dt_bias,
            -self.A_log.float().exp(),
            self._skip(),
            self.chunk_size,
            dt_limit=self.dt_limit,
            return_final_states=True,
            rmsnorm_weight=self.norm.weight if self.rmsnorm else None,
            rmsnorm_eps=self.norm.eps if self.rmsnorm else 1e-6,
            headdim=self.headdim,
            ngroups=self.ngroups,
            norm_before_gate=self.norm_before_gate,
        )
        if states is not None:
            conv_state, ssm_state = states
            steps = zxbcdt[..., 2 * self.d_inner - self.d_ssm : -self.nheads].mT  # what is convolved
            conv_state.copy_(F.pad(steps, (self.d_conv - steps.shape[-1], 0)))
            ssm_state.copy_(last)
        return self.out_proj(y).view(*u.shape[:-1], -1)

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
        gated, states = self.d_inner - self.d_ssm, self.ngroups * self.d_state
        sizes = [gated, gated, self.d_ssm, self.d_ssm + 2 * states, self.nheads]
        z0, x0, z, xBC, dt = self.in_proj(hidden_states.squeeze(1)).split(sizes, -1)
        xBC = causal_conv1d_update(xBC, conv_state, self.conv1d.weight.flatten(1), self.conv1d.bias, self.activation)
        x, B, C = xBC.split([self.d_ssm, states, states], -1)
        heads = (self.nheads, self.headdim)
        dt = F.softplus(dt + self.dt_bias).clamp(*self.dt_limit)
        skip = self._skip() if self.D_has_hdim else self.D[:, None].expand(heads)
        y = selective_state_update(
            ssm_state,
            x.unflatten(-1, heads),
            dt.unsqueeze(-1).expand(-1, *heads),
            -self.A_log.float().exp()[:, None, None].expand(*heads, self.d_state),
            B.unflatten(-1, (self.ngroups, -1)),
            C.unflatten(-1, (self.ngroups, -1)),
            skip,
        ).flatten(1)
        y = self.norm(y, z) if self.rmsnorm else y * F.silu(z)
        if gated:
            y = torch.cat([F.silu(z0) * x0, y], -1)
        return self.out_proj(y).unsqueeze(1), conv_state, ssm_state

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Empty states: the last steps (B, E + 2GN, W) and the scan's state (B, H, P, N)."""
        like = self.conv1d.weight
        sizes = (batch_size, like.shape[0], self.d_conv), (batch_size, self.nheads, self.headdim, self.d_state)
        conv_state, ssm_state = (like.new_zeros(size, dtype=dtype) for size in sizes)
        return conv_state, ssm_state
