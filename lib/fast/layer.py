"""A layer of a BERT encoder as one step of autograd, with a backward pass of its own: less is kept,
and less is called.

The library's layer is some fifty operations, each of which keeps what its own gradient needs. Here
GELU's output, the attention maps, the output of the first LayerNorm and cast weights are made again
from what is kept anyway, and queries, keys and values are one matrix product. Values and gradients
are the library's but for rounding.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from transformers.models.bert.modeling_bert import BertLayer

from lib.fast.linear import Linear, format_of, linear, product

MAPS = 2**22
"""Most numbers of attention maps that the backward pass holds at a time."""


class Weights(NamedTuple):
    """Of a layer, in the format to multiply in: queries, keys and values are one."""

    qkv: torch.Tensor
    qkv_bias: torch.Tensor
    out: torch.Tensor
    out_bias: torch.Tensor
    inner: torch.Tensor
    inner_bias: torch.Tensor
    outer: torch.Tensor
    outer_bias: torch.Tensor


def _packed(low: torch.dtype, parameters) -> Weights:
    q, bq, k, bk, v, bv, out, out_bias, _, _, inner, inner_bias, outer, outer_bias, *_ = parameters
    joined = (
        torch.cat([q, k, v]),
        torch.cat([bq, bk, bv]),
        out,
        out_bias,
        inner,
        inner_bias,
        outer,
        outer_bias,
    )
    return Weights(*(part.detach().to(low) for part in joined))


class _Layer(torch.autograd.Function):
    """h = LN(x + attention(x)), y = LN(h + W_2 gelu(W_1 h)); Devlin et al. 2018, Vaswani et al.
    2017 section 3.1."""

    @staticmethod
    def forward(ctx, x, real, heads, eps, weights, wants_maps, learns, *parameters):
        """y of x, [sequences, length, hidden], and the attention maps, [sequences, heads, length,
        length] in fp32, or None; real [sequences, 1, 1 or length, length], True where a key may be
        seen, or None. Without `learns` no backward pass follows."""
        from lib.fast.gelu import gelu  # not before it is needed: it loads a compiler

        gain_1, shift_1, gain_2, shift_2 = (
            parameters[8],
            parameters[9],
            parameters[14],
            parameters[15],
        )
        low, shape, hidden = weights.qkv.dtype, x.shape, x.shape[-1]
        rows = x.reshape(-1, hidden)
        qkv = linear(rows.to(low), weights.qkv, weights.qkv_bias)
        seen, maps = _attend(qkv, shape, heads, real, wants_maps)
        first = rows + linear(seen, weights.out, weights.out_bias)
        h, mean_1, scale_1 = torch.native_layer_norm(first, (hidden,), gain_1, shift_1, eps)
        if (
            wants_maps and low == torch.float32
        ):  # those who learn from them keep much as it is; these two can be made anew
            seen = first = None
        inner = linear(h.to(low), weights.inner, weights.inner_bias)
        second = h.add_(linear(gelu(inner, in_place=not learns), weights.outer, weights.outer_bias))
        y, mean_2, scale_2 = torch.native_layer_norm(second, (hidden,), gain_2, shift_2, eps)
        if learns:
            ctx.heads, ctx.low = heads, low
            ctx.set_materialize_grads(False)  # of maps that nobody learns from
            ctx.save_for_backward(
                x,
                real,
                qkv,
                seen,
                first,
                mean_1,
                scale_1,
                inner,
                second,
                mean_2,
                scale_2,
                *parameters,
            )
        return y.view(shape), maps

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, by, by_maps):
        from lib.fast.gelu import gelu_backward

        x, real, qkv, seen, first, mean_1, scale_1, inner, second, mean_2, scale_2, *parameters = (
            ctx.saved_tensors
        )
        gain_1, shift_1, gain_2, shift_2 = (
            parameters[8],
            parameters[9],
            parameters[14],
            parameters[15],
        )
        learns, weights, shape, hidden = (
            ctx.needs_input_grad[7:],
            _packed(ctx.low, parameters),
            x.shape,
            x.shape[-1],
        )
        low = ctx.low
        by = torch.zeros_like(x) if by is None else by

        def of_weights(output: torch.Tensor, into: torch.Tensor, *places: int) -> tuple:
            """Gradients of a weight and its bias out of its output's and its input; None if no
            weight, or no bias behind one, of those at `places` learns."""
            return (
                product(output.t(), into).float()
                if any(learns[place] for place in places)
                else None,
                output.sum(0, dtype=torch.float32)
                if any(learns[place + 1] for place in places)
                else None,
            )

        if first is None:
            seen, _ = _attend(qkv, shape, ctx.heads, real, False)
            first = x.reshape(-1, hidden) + linear(seen, weights.out, weights.out_bias)
        d_second, d_gain_2, d_shift_2 = torch.ops.aten.native_layer_norm_backward(
            by.reshape(-1, hidden),
            second,
            (hidden,),
            mean_2,
            scale_2,
            gain_2,
            shift_2,
            (True, learns[14], learns[15]),
        )
        h = (first - mean_1).mul_(scale_1).mul_(gain_1).add_(shift_1).to(low)
        d_low = d_second.to(low)
        d_inner = product(d_low, weights.outer)
        active = gelu_backward(inner, d_inner)
        d_outer = of_weights(d_low, active, 12)
        del active, inner
        d_wi = of_weights(d_inner, h, 10)
        del h
        d_h = d_second.add_(product(d_inner, weights.inner))
        del d_inner
        d_first, d_gain_1, d_shift_1 = torch.ops.aten.native_layer_norm_backward(
            d_h, first, (hidden,), mean_1, scale_1, gain_1, shift_1, (True, learns[8], learns[9])
        )
        d_low = d_first.to(low)
        d_out = of_weights(d_low, seen, 6)
        d_qkv = attention_backward(
            qkv, product(d_low, weights.out), real, shape, ctx.heads, by_maps
        )
        d_w, d_b = of_weights(d_qkv, x.reshape(-1, hidden).to(low), 0, 2, 4)
        thirds = [None if part is None else part.split(hidden) for part in (d_w, d_b)]
        attention = [
            None if part is None else part[number] for number in range(3) for part in thirds
        ]
        d_x = (
            d_first.add_(product(d_qkv, weights.qkv)).view(shape)
            if ctx.needs_input_grad[0]
            else None
        )
        return (
            d_x,
            *[None] * 6,
            *attention,
            *d_out,
            d_gain_1,
            d_shift_1,
            *d_wi,
            *d_outer,
            d_gain_2,
            d_shift_2,
        )


def _attend(
    qkv: torch.Tensor, shape: torch.Size, heads: int, real: torch.Tensor | None, wants_maps: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the queries see, [positions, hidden], and the maps, if they are asked for."""
    q, k, v = qkv.view(*shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    maps = _maps(q.float(), k.float(), real) if wants_maps else None
    seen = (
        torch.matmul(maps.to(v.dtype), v)
        if wants_maps
        else F.scaled_dot_product_attention(q, k, v, real)
    )
    return seen.transpose(1, 2).reshape(-1, shape[-1]), maps


def _maps(q: torch.Tensor, k: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Attention maps, [sequences, heads, length, length]; queries and keys [sequences, heads,
    length, width]."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.mT)
    if real is not None:
        scores.masked_fill_(~real, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, -1)


def attention_backward(
    qkv: torch.Tensor,
    by: torch.Tensor,
    real: torch.Tensor | None,
    shape: torch.Size,
    heads: int,
    by_maps: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gradient of queries, keys and values, [positions, 3 · hidden], from that of what was
    seen, [positions, hidden], and that of the maps.

    The maps are computed again, in fp32, a few sequences at a time: to keep them takes more than
    all else that a layer keeps, and the library's own backward pass, which does not keep them
    either, is several times slower in bf16.
    """
    sequences, length, hidden = shape
    width = hidden // heads
    d_qkv = torch.empty_like(qkv)
    some = max(1, MAPS // (heads * length * length))
    for start in range(0, sequences, some):
        here, rows = slice(start, start + some), slice(start * length, (start + some) * length)
        split = qkv[rows].view(-1, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        q, k, v = split.contiguous() if qkv.dtype == torch.float32 else split.float()
        d_seen = by[rows].view(-1, length, heads, width).transpose(1, 2).float()
        maps = _maps(q, k, real if real is None or len(real) == 1 else real[here])
        d_maps = torch.matmul(d_seen, v.mT)
        if by_maps is not None:
            d_maps += by_maps[here]
        d_scores = torch.ops.aten._softmax_backward_data(d_maps, maps, -1, torch.float32).mul_(
            width**-0.5
        )
        into = d_qkv[rows].view(-1, length, 3, heads, width)
        for number, part in enumerate((d_scores @ k, d_scores.mT @ q, maps.mT @ d_seen)):
            into[:, :, number] = part.transpose(1, 2)
    return d_qkv


class Layer(BertLayer):
    """The library's layer, made of one by `lib.fast.linear.quicken`. On a processor, where no
    dropout acts and no attention maps are handed out, it computes what the library's does in one
    step; else it is the library's."""

    frozen = False
    _cast: tuple | None = None

    def forward(self, hidden_states, attention_mask=None, *args, **kwargs):
        others = *args, kwargs.get("past_key_values"), kwargs.get("encoder_attention_mask")
        other = any(given is not None for given in others)
        plain = self.attention.self.config._attn_implementation == "sdpa" and not other
        if plain and self.is_plain(hidden_states, attention_mask):
            return self.step(hidden_states, attention_mask)[0]
        return super().forward(hidden_states, attention_mask, *args, **kwargs)

    def is_plain(self, x: torch.Tensor, real: torch.Tensor | None) -> bool:
        """Whether `step` can compute this: it reads the weights, and calls none of the modules that
        hold them."""
        config, weight = self.attention.self.config, self.attention.self.query.weight
        dropout = self.training and (
            config.hidden_dropout_prob or config.attention_probs_dropout_prob
        )
        masked = real is not None and (
            real.dtype != torch.bool or real.dim() != 4 or real.shape[1] != 1
        )
        whole = all(
            type(module) in (Linear, torch.nn.LayerNorm)
            and not module._forward_hooks
            and not module._forward_pre_hooks
            for module in self._modules_used()
        )
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32 == weight.dtype
            and config.hidden_act == "gelu"
            and format_of(x) in (torch.float32, torch.bfloat16)
            and not getattr(config, "is_decoder", False)
            and not masked
            and not dropout
            and whole
            and type(weight) in (torch.nn.Parameter, torch.Tensor)
        )

    def _modules_used(self) -> tuple[torch.nn.Module, ...]:
        its, output = self.attention.self, self.attention.output
        return (
            its.query,
            its.key,
            its.value,
            output.dense,
            output.LayerNorm,
            self.intermediate.dense,
            self.output.dense,
            self.output.LayerNorm,
        )

    def step(
        self, x: torch.Tensor, real: torch.Tensor | None, maps: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The layer's output and, if asked for, its attention maps; see _Layer.forward."""
        low, parameters = (
            format_of(x),
            [part for module in self._modules_used() for part in (module.weight, module.bias)],
        )
        learns = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *parameters))
        weights = self._weights(low, parameters)
        with torch.autocast("cpu", enabled=False):
            heads, eps = self.attention.self.num_attention_heads, self.output.LayerNorm.eps
            return _Layer.apply(x, real, heads, eps, weights, maps, learns, *parameters)

    def _weights(self, low: torch.dtype, parameters) -> Weights:
        if self._cast is not None and self._cast[0] == low:
            return self._cast[1]
        with torch.inference_mode(
            False
        ):  # kept by a pass of the teacher, and used by passes in any mode
            found = _packed(low, parameters)
        if self.frozen and low != torch.float32:
            self._cast = low, found
        return found

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_cast"}
