"""Attention of the next token of each row, where rows of a group read their prompt's keys in one place.

The keys of a prompt are kept once, however many rows continue it; a row keeps only what it has added
itself. Scores against the prompt are one product for all rows of the group. Where there are few rows and
their prompts are short, each has its prompt's keys before its own, and attention is one call of torch's.
Everything is float32.

Suffixes: N rows, P prompts, R rows of a prompt, H query heads, J key heads, S = H / J, D width, K
tokens of a prompt, T new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from grpokit_hf.nn.keys import SharedLayer
from grpokit_hf.nn.tiles import attend, joined

__all__ = ["Groups", "Steps", "Tiled", "Together"]


@dataclass(frozen=True)
class Groups:
    """Which rows continue which prompt.

    Attributes:
        count: prompts.
        take_X: row of each of the P * R places, or None where the rows already stand so.
        give_N: place of each row; None likewise.
    """

    count: int
    take_X: Tensor | None
    give_N: Tensor | None

    @classmethod
    def of(cls, owners: Sequence[int], count: int, device: torch.device) -> Groups:
        members: list[list[int]] = [[] for _ in range(count)]
        for row, owner in enumerate(owners):
            members[owner].append(row)
        most = max(len(rows) for rows in members)
        if [row for rows in members for row in rows] == list(range(count * most)):
            return cls(count, None, None)
        give = [0] * len(owners)
        take = [0] * (count * most)  # a place without a row computes row 0 once more, for nobody
        for prompt, rows in enumerate(members):
            for place, row in enumerate(rows, start=prompt * most):
                take[place], give[row] = row, place
        return cls(count, torch.tensor(take, device=device), torch.tensor(give, device=device))

    def spread(self, x_NX: Tensor) -> Tensor:
        """(N, ...) to (P, R, ...)."""
        if self.take_X is not None:
            x_NX = x_NX.index_select(0, self.take_X)
        return x_NX.view(self.count, -1, *x_NX.shape[1:])

    def collect(self, x_PRX: Tensor) -> Tensor:
        """(P, R, ...) to (N, ...)."""
        x_NX = x_PRX.reshape(-1, *x_PRX.shape[2:])
        return x_NX if self.give_N is None else x_NX.index_select(0, self.give_N)


class Together:
    """The layout that attention is given at every token where rows have copies of their prompt's keys."""

    def __init__(self, layers: Sequence[SharedLayer], seen_N11K: Tensor | None) -> None:
        self.layers = layers
        self.seen_N11K = seen_N11K
        self.used = 0

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
    ) -> Tensor:
        """(N, H, 1, D) against the row's own (N, J, T, D) and its prompt's keys; gives (N, 1, H, D)."""
        self.used += 1
        layer = self.layers[int(module.layer_idx)]  # type: ignore[arg-type]
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return self.attend_rows(layer, query[:, :, 0], key, value, scale)[:, None]

    def attend_rows(
        self, layer: SharedLayer, query_NHD: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        """The same for (N, H, D); gives (N, H, D)."""
        rows, heads, width = query_NHD.shape
        shared = key.shape[1]
        out = functional.scaled_dot_product_attention(
            query_NHD.float().view(rows, shared, heads // shared, width),
            key,
            value,
            attn_mask=None if self.seen_N11K is None else self.seen_N11K[..., : key.shape[2]],
            scale=scale,
        )
        return out.reshape(rows, heads, width).to(query_NHD.dtype)


class Steps(Together):
    """The layout where rows of a group read their prompt's keys in one place."""

    def __init__(
        self, layers: Sequence[SharedLayer], groups: Groups, hidden_PK: Tensor | None
    ) -> None:
        super().__init__(layers, None)
        self.groups = groups
        self.hidden_PK = hidden_PK

    def attend_rows(
        self, layer: SharedLayer, query_NHD: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        """The same for (N, H, D); gives (N, H, D)."""
        rows, heads, width = query_NHD.shape
        shared, length = key.shape[1], key.shape[2]
        q_NJSD = (query_NHD.float() * scale).view(rows, shared, heads // shared, width)
        own = torch.bmm(
            q_NJSD.view(rows * shared, -1, width),
            key.reshape(rows * shared, length, width).transpose(1, 2),
        ).view(rows, shared, -1, length)
        prefix = self.groups.collect(self.prefix_scores(layer.prompt_keys, q_NJSD))
        both = torch.softmax(torch.cat([prefix, own], dim=-1), dim=-1)
        split = prefix.shape[-1]
        out = torch.bmm(
            both[..., split:].reshape(rows * shared, -1, length),
            value.reshape(rows * shared, length, width),
        ).view(rows, shared, -1, width)
        out += self.groups.collect(self.prefix_values(layer.prompt_values, both[..., :split]))
        return out.view(rows, heads, width).to(query_NHD.dtype)

    def prefix_scores(self, keys_PJKD: Tensor, q_NJSD: Tensor) -> Tensor:
        """(P, R, J, S, K)."""
        q_PJRSD = self.groups.spread(q_NJSD).transpose(1, 2)
        prompts, shared, rows, group, width = q_PJRSD.shape
        scores = torch.bmm(
            q_PJRSD.reshape(prompts * shared, rows * group, width),
            keys_PJKD.view(prompts * shared, -1, width).transpose(1, 2),
        ).view(prompts, shared, rows, group, -1)
        if self.hidden_PK is not None:
            scores.masked_fill_(self.hidden_PK[:, None, None, None], -torch.inf)
        return scores.transpose(1, 2)

    def prefix_values(self, values_PJKD: Tensor, weights_NJSK: Tensor) -> Tensor:
        """(P, R, J, S, D)."""
        weights = self.groups.spread(weights_NJSK).transpose(1, 2)
        prompts, shared, rows, group, keys = weights.shape
        out = torch.bmm(
            weights.reshape(prompts * shared, rows * group, keys),
            values_PJKD.view(prompts * shared, keys, -1),
        )
        return out.view(prompts, shared, rows, group, -1).transpose(1, 2)


class Tiled(Steps):
    """The same by torch's kernel for CPUs: a call for the rows' own keys, and one for their prompts'."""

    def __init__(
        self, layers: Sequence[SharedLayer], groups: Groups, hidden_PK: Tensor | None
    ) -> None:
        super().__init__(layers, groups, hidden_PK)
        self.mask_P11K: Tensor | None = None
        if hidden_PK is not None:
            seen_PK = torch.zeros(hidden_PK.shape, device=hidden_PK.device)
            self.mask_P11K = seen_PK.masked_fill_(hidden_PK, -torch.inf)[:, None, None]

    def attend_rows(
        self, layer: SharedLayer, query_NHD: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        """The same for (N, H, D); gives (N, H, D)."""
        rows, heads, width = query_NHD.shape
        shared = key.shape[1]
        q_NJSD = (query_NHD.float() * scale).view(rows, shared, heads // shared, width)
        q_PJRSD = self.groups.spread(q_NJSD).transpose(1, 2)
        prompts, _, most, group, _ = q_PJRSD.shape
        q_PJXD = q_PJRSD.reshape(prompts, shared, most * group, width)
        prompt_keys = (layer.prompt_keys, layer.prompt_values)
        out_PJXD, norm_PJX = attend(q_PJXD, *prompt_keys, mask=self.mask_P11K)
        out = out_PJXD.reshape(q_PJRSD.shape).transpose(1, 2)
        norm = norm_PJX.reshape(q_PJRSD.shape[:-1]).transpose(1, 2)
        prefix = (self.groups.collect(out), self.groups.collect(norm))
        both = joined(attend(q_NJSD, key, value), prefix)
        return both.reshape(rows, heads, width).to(query_NHD.dtype)
