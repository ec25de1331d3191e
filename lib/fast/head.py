"""The vocabulary head of distillation, fused: hidden rows in, loss and gradient out, a block of
rows at a time.

The plain way holds two logit tensors of [rows, vocabulary], their softmaxes and their gradients at
once. Here a block of rows goes through both heads, its logits become their own gradient in place,
and that is turned into the gradients of rows and weights before the next block comes: memory grows
neither with the rows nor with the vocabulary.
"""

import math

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from lib.fast.linear import Linear, add_product, format_of, product

BLOCK = {"cpu": (20 * 2**20, 36 * 2**20), "cuda": (2**26, 2**26)}
"""Bytes of one network's logits held at a time, at least and at most: within these a quarter of
all. Fewer rows make thin matrix products."""
FEWEST, MOST = 16, {"cpu": 512, "cuda": 4096}  # rows of a block


class _Fused(torch.autograd.Function):
    """α_mlm · Σ CE + α_soft · T² · Σ KL(σ(z_t/T) ‖ σ(z_s/T)) with z = h Wᵀ + b, and the two sums
    apart.

    With p = σ(z_s), p_T = σ(z_s/T), q_T = σ(z_t/T), the gradient of a row's logits is α_mlm (p −
    1_y) + α_soft T (p_T − q_T). It is formed at once with the loss, and turned into the gradients
    of h, W and b.
    """

    @staticmethod
    def forward(
        ctx,
        hidden,
        weight,
        bias,
        labels,
        teacher,
        teacher_weight,
        teacher_bias,
        mlm,
        soft,
        temperature,
        learns,
    ):
        device, vocabulary = hidden.device.type, len(weight)
        low = format_of(hidden)
        ours, biases = weight.to(low), (bias.float(), teacher_bias.float() if soft else None)
        theirs = teacher_weight.to(low) if soft else None
        # A frozen weight costs no gradient, and nothing does where none is asked for.
        rows_learn, weight_learns, bias_learns = (
            learns and needed for needed in ctx.needs_input_grad[:3]
        )
        d_hidden = torch.empty_like(hidden, dtype=torch.float32) if rows_learn else None
        d_weight = torch.empty_like(weight, dtype=torch.float32) if weight_learns else None
        sum_mlm = sum_soft = 0.0
        # The weights are divided by thousands of positions: too small for fp16. Gradients are
        # formed as if the larger were 1, and get their size in `backward`, in fp32.
        scale = max(mlm, soft * temperature) or 1.0
        weights = {
            "temperature": temperature,
            "soft": soft * temperature / scale,
            "mlm": mlm / scale,
        }
        block = _rows_of_a_block(len(hidden), vocabulary * low.itemsize, device)
        losses, room = _how(hidden.device, low, vocabulary)
        room[:, -1] = 0.0
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), block):
                rows = slice(start, start + block)
                h = hidden[rows].to(low)
                logits = product(
                    h, ours.t(), _kept("student", hidden.device, low, len(h), vocabulary)
                )
                targets = None
                if soft:
                    targets = product(
                        teacher[rows].to(low),
                        theirs.t(),
                        _kept("teacher", hidden.device, low, len(h), vocabulary),
                    )
                cross_entropy, divergence = losses(
                    logits, targets, labels[rows], biases, room, **weights
                )
                sum_mlm, sum_soft = sum_mlm + cross_entropy, sum_soft + divergence
                if rows_learn:
                    d_hidden[rows] = product(logits, ours)
                if weight_learns:
                    add_product(d_weight, logits.t(), h, to_nothing=start == 0)
        if weight_learns and not len(hidden):
            d_weight.zero_()
        d_bias = room[:, -1].sum(0) if bias_learns else None
        ctx.scale, ctx.dtype = scale, hidden.dtype
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        sums = [
            torch.as_tensor(of, dtype=torch.float32, device=hidden.device)
            for of in (sum_mlm, temperature**2 * sum_soft)
        ]
        ctx.mark_non_differentiable(*sums)
        return mlm * sums[0] + soft * sums[1], *sums

    @staticmethod
    @once_differentiable
    def backward(ctx, by, *_):
        by = by.float() * ctx.scale
        # In place: a second gradient of the weights would be as large as they are.
        found = [None if part is None else part.mul_(by) for part in ctx.saved_tensors]
        found[0] = None if found[0] is None else found[0].to(ctx.dtype)
        return (*found, *[None] * 8)


def _weight(decoder: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """The weight of a teacher's decoder; cast already, if it is one that does so once."""
    return (
        decoder.cast(format_of(rows))[0]
        if isinstance(decoder, Linear) and decoder.frozen
        else decoder.weight
    )


def _rows_of_a_block(rows: int, bytes_of_one: int, device: str) -> int:
    """The same for all blocks but for what division leaves over."""
    kind = "cuda" if device == "cuda" else "cpu"
    least, most = (max(FEWEST, min(MOST[kind], held // bytes_of_one)) for held in BLOCK[kind])
    blocks = max(math.ceil(rows / most), min(4, math.ceil(rows / least)))
    return math.ceil(rows / max(blocks, 1)) or 1


_ROOMS: dict[tuple, torch.Tensor] = {}


def _kept(use: str, device: torch.device, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Working memory for a `use`, the same in every step: a fresh piece costs the system a fault
    for each of its pages, which takes longer than what is written to them."""
    size = math.prod(shape)
    if (use, device, dtype) not in _ROOMS or len(_ROOMS[use, device, dtype]) < size:
        with torch.inference_mode(False):  # made while evaluating, it is written to by training too
            _ROOMS[use, device, dtype] = torch.empty(size, dtype=dtype, device=device)
    return _ROOMS[use, device, dtype][:size].view(shape)


def forget() -> None:
    """Give the working memory back."""
    _ROOMS.clear()


def _how(device: torch.device, dtype: torch.dtype, vocabulary: int):
    """What turns logits of a format into losses and gradient on a device, and the room that
    takes."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return plain_rows, torch.empty(1, 1, vocabulary, device=device)
    from lib.fast import kernels  # not before it is needed: it loads a compiler

    return kernels.head_rows, _kept(
        "rows", device, torch.float32, torch.get_num_threads(), kernels.ROOM, vocabulary
    )


def plain_rows(logits, targets, labels, biases, room, *, temperature, soft, mlm):
    """`lib.fast.kernels.head_rows` in PyTorch's operations, each of which is a kernel of its own on
    a GPU."""
    z = logits.float().add_(biases[0])
    cross_entropy = divergence = 0.0
    here = (labels >= 0).nonzero().squeeze(-1) if mlm else labels.new_empty(0)
    gradient = torch.zeros_like(z) if not soft else None
    if soft:
        log_q = targets.float().add_(biases[1]).div_(temperature).log_softmax(-1)
        log_p = (z / temperature).log_softmax(-1)
        q = log_q.exp()
        divergence = log_q.sub_(log_p).mul_(q).sum(dtype=torch.float64)
        gradient = log_p.exp_().sub_(q).mul_(soft)
    if len(here):
        log_p, y = z[here].log_softmax(-1), labels[here].unsqueeze(-1)
        cross_entropy = -log_p.gather(1, y).sum(dtype=torch.float64)
        hard = log_p.exp_().mul_(mlm)
        gradient.index_add_(0, here, hard.scatter_add_(1, y, hard.new_full(y.shape, -mlm)))
    room[:, -1] += gradient.sum(0)
    logits.copy_(gradient)
    return cross_entropy, divergence


def fused_losses(
    student: nn.Module,
    hidden: torch.Tensor,
    labels: torch.Tensor,
    *,
    mlm: float,
    soft: float = 0.0,
    temperature: float = 1.0,
    teacher: nn.Module | None = None,
    teacher_hidden: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The weighted loss of the vocabulary head, and the MLM and soft-target sums it is made of
    (without gradient).

    Args:
        student, teacher: BERT MLM models; hidden [rows, hidden] and teacher_hidden [rows, teacher's
        hidden] are rows of
            their last hidden states. labels [rows]: the hidden token, negative where there is none.
        mlm, soft: weights, already divided by what the sums are means over; 0 leaves the loss out.
    Returns: mlm · Σ CE + soft · T² · Σ KL, Σ CE, T² · Σ KL; nats.
    """
    head = student.cls.predictions
    targets = (None, None, None)
    if soft:
        theirs = teacher.cls.predictions
        with torch.no_grad():
            targets = (
                theirs.transform(teacher_hidden),
                _weight(theirs.decoder, teacher_hidden),
                theirs.decoder.bias,
            )
    rows = head.transform(hidden)
    learns = torch.is_grad_enabled()
    return _Fused.apply(
        rows,
        head.decoder.weight,
        head.decoder.bias,
        labels,
        *targets,
        mlm,
        soft,
        temperature,
        learns,
    )
