"""Matrix products of linear layers by whichever of the machine's libraries is faster, with nothing
cast twice.

In fp32 PyTorch multiplies by MKL, which reaches half the speed of a processor that Intel has not
made; oneDNN, which PyTorch also has, does not slow down there. Under autocast PyTorch casts the
weights of a frozen network again in every pass.
"""

import functools
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

GAIN = 0.8
"""oneDNN is used where it takes less than this share of MKL's time: so far from even that repeated
runs decide alike."""
SLAB = 2**21
"""Elements of a product that are held at a time beside the matrix it is added to."""


@functools.cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _onednn(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


@functools.cache
def onednn_pays() -> bool:
    """Whether oneDNN multiplies fp32 matrices clearly faster than PyTorch's own choice on this
    processor. Measured once per process."""
    if not _has_onednn():
        return False
    rows, weight = torch.full((2, 384, 384), 0.5)  # random numbers would move the global generator
    seconds: dict = {F.linear: [], _onednn: []}
    try:
        for _ in range(15):
            for function, times in seconds.items():
                start = time.perf_counter()
                function(rows, weight, None)
                times.append(time.perf_counter() - start)
    except RuntimeError:  # PyTorch was built without it after all
        return False
    # The minimum: other work on the machine can only lengthen a time.
    return min(seconds[_onednn]) < GAIN * min(seconds[F.linear])


def compute_dtype(rows: torch.Tensor) -> torch.dtype:
    """The number format in which these rows are multiplied: their own, or autocast's."""
    kind = rows.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype


def linear(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """rows · weightᵀ + bias without gradient: [rows, in], [out, in], [out] give [rows, out]. All of
    one format."""
    if rows.device.type == "cpu" and rows.numel() and weight.numel() and _uses_onednn(rows.dtype):
        return _onednn(rows, weight, bias)
    return F.linear(rows, weight, bias)


def product(
    left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """left · right without gradient, written to `out` if given: [rows, inner], [inner, columns]
    give [rows, columns]. All of one format."""
    fp32_on_cpu = left.device.type == "cpu" and left.dtype == torch.float32
    if not (fp32_on_cpu and left.numel() and right.numel() and onednn_pays()):
        return torch.mm(left, right, out=out)
    if out is None:
        return _onednn(left, right.t(), None)
    width = max(1, SLAB // (4 * len(left)))  # oneDNN cannot write to `out` itself
    for start in range(0, right.shape[1], width):
        columns = slice(start, start + width)
        out[:, columns] = _onednn(left, right[:, columns].t(), None)
    return out


def add_product(
    total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, overwrite: bool = False
) -> None:
    """total += left · right (or = with `overwrite`) without gradient, `total` in fp32; needs next
    to no memory besides."""
    on_cpu = total.device.type == "cpu"
    if left.dtype == torch.float32 and not (on_cpu and onednn_pays()):
        total.addmm_(left, right, beta=0 if overwrite else 1)
        return
    # The library may also copy the slab of `left`.
    height = max(1, SLAB // sum(right.shape)) if on_cpu else len(total)
    for start in range(0, len(total), height):
        rows = slice(start, start + height)
        part = product(left[rows], right)
        total[rows].copy_(part) if overwrite else total[rows].add_(part)


def _uses_onednn(dtype: torch.dtype) -> bool:
    """Whether products of this format go to oneDNN on a processor."""
    if dtype == torch.bfloat16:
        return _has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 and onednn_pays()


class _Linear(torch.autograd.Function):
    """y = x Wᵀ + b. `weight` and `bias` get the gradient; `cast` are the two in the format to
    multiply in."""

    @staticmethod
    def forward(ctx, x, weight, bias, *cast):
        rows = x.reshape(-1, x.shape[-1]).to(cast[0].dtype)
        ctx.save_for_backward(rows, cast[0])
        ctx.dtypes = x.dtype, weight.dtype
        return linear(rows, *cast).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx, by):
        rows, weight = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        g = by.reshape(-1, by.shape[-1]).to(rows.dtype)
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = product(g, weight).view(*by.shape[:-1], weight.shape[1]).to(x_dtype)
        if ctx.needs_input_grad[1]:
            d_weight = product(g.t(), rows).to(weight_dtype)
        if ctx.needs_input_grad[2]:
            d_bias = g.sum(0, dtype=torch.float32).to(weight_dtype)
        return d_x, d_weight, d_bias, None, None


class Linear(nn.Linear):
    """nn.Linear, faster on a processor: same weights, same names, same values but for rounding.

    A `frozen` one never changes: its weights are cast once for each format, not in every pass.
    (Trainable weights cannot be watched: a fused optimizer changes them without raising their
    version.)
    """

    frozen = False
    _cast: tuple | None = None  # (format, device), (weight, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = compute_dtype(self.weight)
        fast = dtype == torch.bfloat16 or dtype == torch.float32 and onednn_pays()
        if x.device.type == "cpu" and fast:
            return _Linear.apply(x, self.weight, self.bias, *self.cast(dtype))
        if self.frozen and dtype != self.weight.dtype:
            return F.linear(x.to(dtype), *self.cast(dtype))
        return super().forward(x)

    def cast(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias in a format, without gradient."""
        key = dtype, self.weight.device
        if self._cast is not None and self._cast[0] == key:
            return self._cast[1]
        with torch.inference_mode(False):  # made in one mode, used in any
            weight = self.weight.detach().to(dtype)
            parts = weight, None if self.bias is None else self.bias.detach().to(dtype)
        if self.frozen and dtype != self.weight.dtype:
            self._cast = key, parts
        return parts

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_cast"}
