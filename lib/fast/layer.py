"""A layer of a BERT encoder as one autograd step with a backward pass of its own: less is kept, and
less is called.

The library's layer is some fifty operations, each of which keeps what its gradient needs. Here
GELU's output, the attention maps, the output of the first LayerNorm and cast weights are computed
again from what is kept anyway, and queries, keys and values are one matrix product. Values and
gradients are the library's but for rounding.
"""

import functools
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from lib.fast.linear import Linear, compute_dtype, linear, product

MAPS = 2**22
"""Elements of attention maps that the backward pass holds at a time, at most."""

# Places in the flat list of a layer's parameters, each a weight with its bias behind it.
QUERY, KEY, VALUE, OUT, NORM_1, INNER, OUTER, NORM_2 = range(0, 16, 2)


class Weights(NamedTuple):
    """The matrices of a layer in the format to multiply in; queries, keys and values are one."""

    qkv: torch.Tensor
    qkv_bias: torch.Tensor
    out: torch.Tensor
    out_bias: torch.Tensor
    inner: torch.Tensor
    inner_bias: torch.Tensor
    outer: torch.Tensor
    outer_bias: torch.Tensor


def _packed(dtype: torch.dtype, parameters) -> Weights:
    q, bq, k, bk, v, bv, out, out_bias, _, _, inner, inner_bias, outer, outer_bias, *_ = parameters
    qkv, qkv_bias = torch.cat([q, k, v]), torch.cat([bq, bk, bv])
    parts = qkv, qkv_bias, out, out_bias, inner, inner_bias, outer, outer_bias
    return Weights(*(part.detach().to(dtype) for part in parts))


class _Layer(torch.autograd.Function):
    """h = LN(x + attention(x)), y = LN(h + W_2 gelu(W_1 h)); Devlin et al. 2018, Vaswani et al.
    2017 section 3.1."""

    @staticmethod
    def forward(ctx, x, mask, heads, eps, weights, with_maps, with_gradient, *parameters):
        """y, [sequences, length, hidden], and the attention maps, [sequences, heads, length,
        length] in fp32, or None. mask [sequences, 1, 1 or length, length]: True where a key may be
        attended to; or None."""
        from lib.fast.gelu import gelu  # only when needed: it loads a compiler

        gain_1, shift_1 = parameters[NORM_1 : NORM_1 + 2]
        gain_2, shift_2 = parameters[NORM_2 : NORM_2 + 2]
        dtype, shape, hidden = weights.qkv.dtype, x.shape, x.shape[-1]
        rows = x.reshape(-1, hidden)
        qkv = linear(rows.to(dtype), weights.qkv, weights.qkv_bias)
        context, maps = _attend(qkv, shape, heads, mask, with_maps)
        sum_1 = rows + linear(context, weights.out, weights.out_bias)
        h, mean_1, rstd_1 = torch.native_layer_norm(sum_1, (hidden,), gain_1, shift_1, eps)
        if with_maps and dtype == torch.float32:
            context = sum_1 = None  # a hop keeps a lot anyway; these two can be computed again
        inner = linear(h.to(dtype), weights.inner, weights.inner_bias)
        active = gelu(inner, in_place=not with_gradient)
        sum_2 = h.add_(linear(active, weights.outer, weights.outer_bias))
        y, mean_2, rstd_2 = torch.native_layer_norm(sum_2, (hidden,), gain_2, shift_2, eps)
        if with_gradient:
            ctx.heads, ctx.compute_dtype = heads, dtype
            ctx.set_materialize_grads(False)  # of maps that no loss uses
            first = qkv, context, sum_1, mean_1, rstd_1
            ctx.save_for_backward(x, mask, *first, inner, sum_2, mean_2, rstd_2, *parameters)
        return y.view(shape), maps

    @staticmethod
    @once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, by, by_maps):
        from lib.fast.gelu import gelu_backward

        x, mask, qkv, context, sum_1, mean_1, rstd_1, inner, *rest = ctx.saved_tensors
        sum_2, mean_2, rstd_2, *parameters = rest
        needed, dtype, shape = ctx.needs_input_grad[7:], ctx.compute_dtype, x.shape
        hidden = shape[-1]
        weights, rows = _packed(dtype, parameters), x.reshape(-1, hidden)

        def d_linear(d_output: torch.Tensor, input: torch.Tensor, *places: int) -> tuple:
            """Gradients of weight and bias; None where those at `places` are all frozen."""
            d_weight = d_bias = None
            if any(needed[place] for place in places):
                d_weight = product(d_output.t(), input).float()
            if any(needed[place + 1] for place in places):
                d_bias = d_output.sum(0, dtype=torch.float32)
            return d_weight, d_bias

        def d_norm(by: torch.Tensor, input: torch.Tensor, mean, rstd, place: int) -> tuple:
            """Gradients of a LayerNorm's input, gain and shift."""
            gain, shift = parameters[place : place + 2]
            which = True, needed[place], needed[place + 1]
            return torch.ops.aten.native_layer_norm_backward(
                by, input, (hidden,), mean, rstd, gain, shift, which
            )

        if sum_1 is None:
            context, _ = _attend(qkv, shape, ctx.heads, mask, False)
            sum_1 = rows + linear(context, weights.out, weights.out_bias)
        by = torch.zeros_like(x) if by is None else by
        d_sum_2, *d_norm_2 = d_norm(by.reshape(-1, hidden), sum_2, mean_2, rstd_2, NORM_2)
        gain_1, shift_1 = parameters[NORM_1 : NORM_1 + 2]
        h = (sum_1 - mean_1).mul_(rstd_1).mul_(gain_1).add_(shift_1).to(dtype)
        d_output = d_sum_2.to(dtype)
        d_inner_output = product(d_output, weights.outer)
        active = gelu_backward(inner, d_inner_output)
        d_outer = d_linear(d_output, active, OUTER)
        del active, inner
        d_inner = d_linear(d_inner_output, h, INNER)
        del h
        d_h = d_sum_2.add_(product(d_inner_output, weights.inner))
        del d_inner_output
        d_sum_1, *d_norm_1 = d_norm(d_h, sum_1, mean_1, rstd_1, NORM_1)
        d_output = d_sum_1.to(dtype)
        d_out = d_linear(d_output, context, OUT)
        d_context = product(d_output, weights.out)
        d_qkv = attention_backward(qkv, d_context, mask, shape, ctx.heads, by_maps)
        d_w, d_b = d_linear(d_qkv, rows.to(dtype), QUERY, KEY, VALUE)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = d_sum_1.add_(product(d_qkv, weights.qkv)).view(shape)
        thirds = [[None] * 3 if part is None else part.split(hidden) for part in (d_w, d_b)]
        d_attention = [part for pair in zip(*thirds) for part in pair]
        own = *d_attention, *d_out, *d_norm_1, *d_inner, *d_outer, *d_norm_2
        return d_x, *[None] * 6, *own


def _attend(
    qkv: torch.Tensor, shape: torch.Size, heads: int, mask: torch.Tensor | None, with_maps: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The attention's output, [positions, hidden], and the maps if wanted."""
    q, k, v = qkv.view(*shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    maps = _maps(q.float(), k.float(), mask) if with_maps else None
    if with_maps:
        context = torch.matmul(maps.to(v.dtype), v)
    else:
        context = F.scaled_dot_product_attention(q, k, v, mask)
    return context.transpose(1, 2).reshape(-1, shape[-1]), maps


def _maps(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention maps, [sequences, heads, length, length]; queries and keys [sequences, heads,
    length, width]."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.mT)
    if mask is not None:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, -1)


def attention_backward(
    qkv: torch.Tensor,
    by: torch.Tensor,
    mask: torch.Tensor | None,
    shape: torch.Size,
    heads: int,
    by_maps: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gradient of queries, keys and values, [positions, 3 · hidden], from that of the output,
    [positions, hidden], and that of the maps.

    The maps are computed again, in fp32, a few sequences at a time: they would take more memory
    than all else that a layer keeps, and the library's own backward pass, which does not keep them
    either, is several times slower in bf16.
    """
    sequences, length, hidden = shape
    width = hidden // heads
    d_qkv = torch.empty_like(qkv)
    step = max(1, MAPS // (heads * length * length))
    for start in range(0, sequences, step):
        some, rows = slice(start, start + step), slice(start * length, (start + step) * length)
        split = qkv[rows].view(-1, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        q, k, v = split.contiguous() if qkv.dtype == torch.float32 else split.float()
        d_context = by[rows].view(-1, length, heads, width).transpose(1, 2).float()
        maps = _maps(q, k, mask if mask is None or len(mask) == 1 else mask[some])
        d_maps = torch.matmul(d_context, v.mT)
        if by_maps is not None:
            d_maps += by_maps[some]
        d_scores = torch.ops.aten._softmax_backward_data(d_maps, maps, -1, torch.float32)
        d_scores.mul_(width**-0.5)
        out = d_qkv[rows].view(-1, length, 3, heads, width)
        for number, part in enumerate((d_scores @ k, d_scores.mT @ q, maps.mT @ d_context)):
            out[:, :, number] = part.transpose(1, 2)
    return d_qkv


_BERT = """attention.self.query attention.self.key attention.self.value attention.output.dense
    attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm"""
_DISTILBERT = """attention.q_lin attention.k_lin attention.v_lin attention.out_lin
    sa_layer_norm ffn.lin1 ffn.lin2 output_layer_norm"""
PARTS = {
    "bert.modeling_bert.BertLayer": _BERT,
    "roberta.modeling_roberta.RobertaLayer": _BERT,
    "xlm_roberta.modeling_xlm_roberta.XLMRobertaLayer": _BERT,
    "camembert.modeling_camembert.CamembertLayer": _BERT,
    "electra.modeling_electra.ElectraLayer": _BERT,
    "distilbert.modeling_distilbert.TransformerBlock": _DISTILBERT,
}
"""The library's layers that compute as BERT's do, and their parts in the order of the places
above."""
DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


class Layer(nn.Module):
    """The library's layer as one step, on a processor, without dropout and without attention maps;
    in all other cases it is the library's layer, whose class `fast_class` puts behind this one."""

    frozen = False
    parts: Callable  # of a layer, those in PARTS
    attention_of: Callable  # of a layer, what computes the attention maps
    _cast: tuple | None = None  # format, weights

    def forward(self, hidden_states, attention_mask=None, *args, **kwargs):
        more = *args, kwargs.get("past_key_values"), kwargs.get("encoder_attention_mask")
        sdpa = self.attention_of(self).config._attn_implementation == "sdpa"
        simple = sdpa and all(value is None for value in more)
        if simple and self.is_plain(hidden_states, attention_mask):
            return self.step(hidden_states, attention_mask)[0]
        return super().forward(hidden_states, attention_mask, *args, **kwargs)

    def is_plain(self, x: torch.Tensor, mask: torch.Tensor | None) -> bool:
        """Whether `step` can compute this: it reads the weights, and calls none of the modules that
        hold them."""
        config, modules = self.attention_of(self).config, self.parts(self)
        weight = modules[0].weight
        unchanged = all(
            type(module) in (Linear, nn.LayerNorm)
            and not (module._forward_hooks or module._forward_pre_hooks)
            for module in modules
        )
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32 == weight.dtype
            and compute_dtype(x) in (torch.float32, torch.bfloat16)
            and "gelu" in (getattr(config, name, "") for name in ("hidden_act", "activation"))
            and not getattr(config, "is_decoder", False)
            and not (self.training and any(getattr(config, rate, 0) for rate in DROPOUT))
            and (mask is None or mask.dtype == torch.bool and mask.dim() == 4 and mask.size(1) == 1)
            and unchanged
            and type(weight) in (nn.Parameter, torch.Tensor)
        )

    def step(
        self, x: torch.Tensor, mask: torch.Tensor | None, with_maps: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The layer's output and, if wanted, its attention maps; see _Layer.forward."""
        modules = self.parts(self)
        parameters = [part for module in modules for part in (module.weight, module.bias)]
        learns = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *parameters))
        weights = self._weights(compute_dtype(x), parameters)
        heads, eps = self.attention_of(self).config.num_attention_heads, modules[-1].eps
        with torch.autocast("cpu", enabled=False):
            return _Layer.apply(x, mask, heads, eps, weights, with_maps, learns, *parameters)

    def _weights(self, dtype: torch.dtype, parameters) -> Weights:
        if self._cast is not None and self._cast[0] == dtype:
            return self._cast[1]
        with torch.inference_mode(False):  # made in one mode, used in any
            weights = _packed(dtype, parameters)
        if self.frozen and dtype != torch.float32:
            self._cast = dtype, weights
        return weights

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_cast"}


@functools.cache
def fast_class(kind: type) -> type:
    """The class that a module of the class `kind` is to have: for a layer like BERT's a `Layer`,
    which is still of its own kind, since the library collects hidden states by their class."""
    place = f"{kind.__module__}.{kind.__name__}".removeprefix("transformers.models.")
    if place not in PARTS:
        return kind
    names = PARTS[place].split()
    attention = names[0].rpartition(".")[0]
    own = {"parts": attrgetter(*names), "attention_of": attrgetter(attention)}
    return type("Layer", (Layer, kind), own)


def states(
    model: nn.Module, batch, maps: Collection[int] = (), *, plain: Callable
) -> tuple[list[torch.Tensor], dict[int, torch.Tensor]]:
    """What `plain`, lib.training.objectives.states, returns, layer by layer: no layer needs the
    library's slow attention to return its maps. Where a layer cannot do so, `plain` does it all."""
    base, words = model.base_model, model.get_input_embeddings().weight
    layers = [module for module in base.modules() if isinstance(module, Layer)]
    mask = None if batch.kept.all() else batch.kept[:, None, None]
    if not (layers and all(layer.is_plain(words, mask) for layer in layers)):
        return plain(model, batch, maps)
    segments = {} if batch.segments is None else {"token_type_ids": batch.segments}
    embeddings = base.embeddings(input_ids=batch.inputs, **segments)
    if hasattr(base, "embeddings_project"):  # of an ELECTRA whose embeddings are narrower
        embeddings = base.embeddings_project(embeddings)
    hidden, attention = [embeddings], {}
    for number, layer in enumerate(layers, 1):
        output, map_ = layer.step(hidden[-1], mask, number in maps)
        hidden.append(output)
        if number in maps:
            attention[number] = map_
    return hidden, attention
