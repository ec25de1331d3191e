"""Matrix products of linear layers by whichever of the machine's libraries is faster, with nothing
cast twice.

In fp32 PyTorch multiplies by MKL, which on processors of other makers than its own leaves half of
their speed unused; oneDNN, which PyTorch has too, does not. Under autocast PyTorch casts the
weights of a frozen network anew in every pass.
"""

import functools
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

GAIN = 0.8
"""oneDNN is taken where it needs less than this share of MKL's time: so far from even that no run
decides otherwise."""


@functools.cache
def _onednn_is_there() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _onednn(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


@functools.cache
def onednn_pays() -> bool:
    """Whether oneDNN multiplies fp32 matrices clearly faster than PyTorch's own choice on this
    processor; measured once."""
    if not _onednn_is_there():
        return False
    rows, weight = torch.full(
        (2, 384, 384), 0.5
    )  # no random numbers: the generator is the caller's
    taken: dict = {F.linear: [], _onednn: []}
    try:
        for _ in range(15):
            for call, times in taken.items():
                began = time.perf_counter()
                call(rows, weight, None)
                times.append(time.perf_counter() - began)
    except RuntimeError:  # built without it after all
        return False
    # The shortest times: whatever else the machine does can only lengthen them.
    return min(taken[_onednn]) < GAIN * min(taken[F.linear])


def format_of(rows: torch.Tensor) -> torch.dtype:
    """The number format that these rows are multiplied in: their own, or that of autocast."""
    kind = rows.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype


def linear(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """rows · weightᵀ + bias without gradient: [rows, in], [out, in], [out] give [rows, out]. All of
    one format."""
    if rows.device.type == "cpu" and rows.numel() and weight.numel() and _takes(rows.dtype):
        return _onednn(rows, weight, bias)
    return F.linear(rows, weight, bias)


SLAB = 2**21
"""Numbers of a product that are there at a time beside the matrix it is added to."""


def product(
    left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """left · right without gradient, in `out` if it is given: [rows, inner], [inner, columns] give
    [rows, columns]. All of one format."""
    if (
        left.device.type == "cpu"
        and left.dtype == torch.float32
        and left.numel()
        and right.numel()
        and onednn_pays()
    ):
        if out is None:
            return _onednn(left, right.t(), None)
        for a in range(
            0, right.shape[1], width := max(1, SLAB // (4 * len(left)))
        ):  # it cannot be told where to write
            out[:, a : a + width] = _onednn(left, right[:, a : a + width].t(), None)
        return out
    return torch.mm(left, right, out=out)


def add_product(
    to: torch.Tensor, left: torch.Tensor, right: torch.Tensor, to_nothing: bool = False
) -> None:
    """to += left · right without gradient, `to` in fp32: a product that needs next to no memory
    beside it. `to_nothing`: what is in `to` does not count, as if it were 0."""
    if left.dtype == torch.float32 and not (to.device.type == "cpu" and onednn_pays()):
        to.addmm_(left, right, beta=0 if to_nothing else 1)
        return
    height = (
        max(1, SLAB // sum(right.shape)) if to.device.type == "cpu" else len(to)
    )  # the library may copy left's part too
    for a in range(0, len(to), height):
        part = product(left[a : a + height], right)
        to[a : a + height].copy_(part) if to_nothing else to[a : a + height].add_(part)


def _takes(dtype: torch.dtype) -> bool:
    """Whether products of this format go to oneDNN on a processor."""
    if dtype == torch.bfloat16:
        return _onednn_is_there() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 and onednn_pays()


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b and its gradients; `weight` and `bias` learn, `low` are the same two in the
    format to multiply in."""

    @staticmethod
    def forward(ctx, x, weight, bias, *low):
        rows = x.reshape(-1, x.shape[-1]).to(low[0].dtype)
        ctx.save_for_backward(rows, low[0])
        ctx.dtypes = x.dtype, weight.dtype
        return linear(rows, *low).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx, by):
        rows, weight = ctx.saved_tensors
        g = by.reshape(-1, by.shape[-1]).to(rows.dtype)
        x_learns, weight_learns, bias_learns = ctx.needs_input_grad[:3]
        d_x = (
            product(g, weight).view(*by.shape[:-1], weight.shape[1]).to(ctx.dtypes[0])
            if x_learns
            else None
        )
        d_weight = product(g.t(), rows).to(ctx.dtypes[1]) if weight_learns else None
        d_bias = g.sum(0, dtype=torch.float32).to(ctx.dtypes[1]) if bias_learns else None
        return d_x, d_weight, d_bias, None, None


class Linear(nn.Linear):
    """nn.Linear, faster on a processor. Made of one by `quicken`; same weights, same names, same
    values but for rounding.

    The weights of a `frozen` one never change: they are cast once for each format, and not in every
    pass. (Weights that learn cannot be watched: a fused optimizer moves them without raising their
    version.)
    """

    frozen = False
    _cast: tuple | None = None  # format, weight and bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        low = format_of(self.weight)
        if kind == "cpu" and (low == torch.bfloat16 or low == torch.float32 and onednn_pays()):
            return _Linear.apply(x, self.weight, self.bias, *self.cast(low))
        if self.frozen and low != self.weight.dtype:
            return F.linear(x.to(low), *self.cast(low))
        return super().forward(x)

    def cast(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias in a format, without gradient."""
        if self._cast is not None and self._cast[0] == (dtype, self.weight.device):
            return self._cast[1]
        with torch.inference_mode(
            False
        ):  # kept by a pass of the teacher, and used by passes in any mode
            parts = tuple(
                None if part is None else part.detach().to(dtype)
                for part in (self.weight, self.bias)
            )
        if self.frozen and dtype != self.weight.dtype:
            self._cast = (dtype, self.weight.device), parts
        return parts

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_cast"}
