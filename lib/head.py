"""The vocabulary head of distillation, fused: hidden rows in, loss and gradient out, a block of rows at a time.

The plain way holds two logit tensors of [rows, vocabulary], their softmaxes and their gradients at once. Here a block of
rows goes through both heads, gives its share of the losses and of the combined gradient, and is forgotten: memory grows
neither with the rows nor with the vocabulary. Within a block the vocabulary is passed through in tiles that stay in the
processor's cache from the matrix product that makes them to their exponentials, and again from there to their gradient.
"""

import math

import torch
from torch import nn

from lib.products import linear

LOGITS = {"cpu": 6 * 2**20, "cuda": 2**26}
"""Most logits of one network held at a time: rows of a block times vocabulary. Fewer rows make thin matrix products."""
TILE = {"cpu": 1024, "cuda": 2**30}
"""Columns of a tile. On a GPU every pass over a block is one kernel, and a tile is the whole vocabulary."""
ROWS = (16, 256), (16, 4096)  # fewest and most rows of a block, on a CPU and on a GPU


class _Softmax:
    """The softmax of a block of rows of which one tile of columns is seen at a time.

    Each tile is exponentiated against its own maximum; when all are there, `close` finds by what factor its exponentials
    become probabilities. `room`: where tiles lie, [rows · vocabulary], used again for every block.
    """

    def __init__(self, room: torch.Tensor, rows: int):
        self.room, self.rows = room, rows
        self.tops: list[torch.Tensor] = []
        self.sums: list[torch.Tensor] = []

    def tile(self, start: int, stop: int) -> torch.Tensor:
        """Columns start … stop of the block, [rows, stop - start]."""
        return self.room[self.rows * start : self.rows * stop].view(self.rows, stop - start)

    def shift(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits of the next tile less their maximum, in place."""
        self.tops.append(logits.amax(-1, keepdim=True))
        return logits.sub_(self.tops[-1])

    def exponentiate(self, shifted: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Keep the exponentials of a shifted tile in its place of the room."""
        kept = torch.exp(shifted, out=self.tile(start, stop))
        self.sums.append(kept.sum(-1, keepdim=True))
        return kept

    def close(self) -> torch.Tensor:
        """log Σ exp of every row, [rows, 1] in double precision: losses are small differences of such numbers. From now on
        a tile's exponentials times its `factors` are probabilities."""
        tops, sums = torch.stack(self.tops).double(), torch.stack(self.sums).double()
        highest = tops.amax(0)
        factors = (tops - highest).exp_()
        total = (factors * sums).sum(0)
        self.factors = (factors / total).float()
        return highest + total.log()


class _Hard(_Softmax):
    """The softmax at 1 of those rows of a block that have a label, out of the block's `softmax` at a temperature: its
    exponentials to the power of the temperature, so that there is no second matrix of them."""

    def __init__(self, softmax: _Softmax, rows: torch.Tensor, temperature: float):
        super().__init__(softmax.room, len(rows))
        self.softmax, self.temperature = softmax, temperature
        self.labelled = None if len(rows) == softmax.rows else rows  # None: all of them, there is nothing to pick

    def pick(self, of: torch.Tensor) -> torch.Tensor:
        return of if self.labelled is None else of.index_select(0, self.labelled)

    def tile(self, start: int, stop: int) -> torch.Tensor:
        return _power(self.pick(self.softmax.tile(start, stop)), self.temperature)

    def exponentiate(self, start: int, stop: int) -> None:
        """Take in the tile that the block's softmax has just exponentiated."""
        self.tops.append(self.pick(self.softmax.tops[-1]) * self.temperature)
        self.sums.append(self.tile(start, stop).sum(-1, keepdim=True))


def _power(base: torch.Tensor, exponent: float) -> torch.Tensor:
    """base ** exponent; by squaring where that is enough, for any other power costs more than an exponential."""
    if exponent < 2:
        return base if exponent == 1 else base**exponent
    return _power(base.square(), exponent / 2)


class _Fused(torch.autograd.Function):
    """α_mlm · Σ CE + α_soft · T² · Σ KL(σ(z_t/T) ‖ σ(z_s/T)) with z = h Wᵀ + b, and the two sums apart.

    With p = σ(z_s), p_T = σ(z_s/T), q_T = σ(z_t/T), the gradient of a row's logits is α_mlm (p − 1_y) + α_soft T (p_T − q_T).
    It is formed at once with the loss, and turned into the gradients of h, W and b tile by tile.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, labels, teacher, teacher_weight, teacher_bias, mlm, soft, temperature):
        device, vocabulary = hidden.device.type, len(weight)
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        # Logits come out divided by T: it costs nothing in the rows and the bias.
        cooled = temperature if soft else 1.0
        ours = (weight.to(low), (bias / cooled).to(low))
        theirs = (teacher_weight.to(low), (teacher_bias / cooled).to(low)) if soft else None
        rows_learn, weight_learns, bias_learns = ctx.needs_input_grad[:3]  # a frozen weight costs no gradient
        d_hidden = torch.zeros_like(hidden, dtype=torch.float32) if rows_learn else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if weight_learns else None
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if bias_learns else None
        sum_mlm, sum_soft = torch.zeros(2, device=hidden.device).unbind()
        # The weights are divided by thousands of positions: too small for fp16. Gradients are formed as if the larger were
        # 1, and get their size in `backward`, in fp32.
        scale = max(mlm, soft * temperature) or 1.0
        by_mlm, by_soft = mlm / scale, soft * temperature / scale
        block, tiles = _sizes(len(hidden), vocabulary, device)
        room = _room(hidden.device, block * vocabulary, 1 + bool(soft))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), block):
                rows = slice(start, start + block)
                h, cool = hidden[rows].to(low), (hidden[rows] / cooled).to(low)
                hot = (teacher[rows] / cooled).to(low) if soft else None
                here = (labels[rows] >= 0).nonzero().squeeze(-1) if mlm else labels.new_empty(0)
                student, *targets = (_Softmax(part, len(h)) for part in room)
                hard, target = _Hard(student, here, cooled), targets[0] if soft else None
                differences = []
                for a, z in tiles:
                    ours_t = student.shift(_logits(cool, ours, a, z))
                    student.exponentiate(ours_t, a, z)
                    if len(here):
                        hard.exponentiate(a, z)
                    if soft:
                        theirs_t = target.shift(_logits(hot, theirs, a, z))
                        chances = target.exponentiate(theirs_t, a, z)
                        # Σ e_t (z_t − z_s)/T of the tile, its shifts undone
                        by_row = chances.mul(theirs_t.sub_(ours_t)).sum(-1, keepdim=True)
                        between = target.tops[-1].double() - student.tops[-1].double()
                        differences.append(by_row + target.sums[-1] * between)
                if len(here):
                    y, labelled = labels[rows][here], h[here].float()
                    gold = (labelled * weight[y]).sum(-1, keepdim=True) + bias[y].unsqueeze(-1)
                    sum_mlm += (hard.close() - gold).sum()
                    # The part of the labels in the gradient: −α_mlm 1_y.
                    if rows_learn:
                        d_hidden[rows].index_add_(0, here, weight[y].float(), alpha=-by_mlm)
                    if weight_learns:
                        d_weight.index_add_(0, y, labelled, alpha=-by_mlm)
                    if bias_learns:
                        d_bias.index_add_(0, y, torch.full_like(y, -by_mlm, dtype=torch.float32))
                if soft:
                    ours_all, theirs_all = student.close(), target.close()
                    mean_difference = (torch.stack(differences) * target.factors).sum(0)
                    sum_soft += temperature**2 * (mean_difference + ours_all - theirs_all).sum()
                for k, (a, z) in enumerate(tiles):
                    if soft:
                        gradient = student.tile(a, z) * (student.factors[k] * by_soft)
                        gradient.addcmul_(target.tile(a, z), target.factors[k], value=-by_soft)
                    if len(here):
                        by_label = hard.tile(a, z) * (hard.factors[k] * by_mlm)
                        gradient = gradient.index_add_(0, here, by_label) if soft else by_label
                    g = gradient.to(low)
                    if rows_learn:
                        _add(d_hidden[rows], g, ours[0][a:z])
                    if weight_learns:
                        _add(d_weight[a:z], g.T, h)
                    if bias_learns:
                        d_bias[a:z] += gradient.sum(0)
        ctx.scale, ctx.dtype = scale, hidden.dtype
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.mark_non_differentiable(sum_mlm, sum_soft)
        return mlm * sum_mlm + soft * sum_soft, sum_mlm, sum_soft

    @staticmethod
    def backward(ctx, by, *_):
        by = by.float() * ctx.scale
        # In place: a second gradient of the weights would be as large as they are.
        found = [None if part is None else part.mul_(by) for part in ctx.saved_tensors]
        found[0] = None if found[0] is None else found[0].to(ctx.dtype)
        return (*found, *[None] * 7)


def _sizes(rows: int, vocabulary: int, device: str) -> tuple[int, list[tuple[int, int]]]:
    """Rows of a block, the same for all but for what division leaves over, and where the tiles of the vocabulary start and stop."""
    kind = "cuda" if device == "cuda" else "cpu"
    fewest, most = ROWS[kind == "cuda"]
    blocks = math.ceil(rows / max(fewest, min(most, LOGITS[kind] // vocabulary)))
    block = math.ceil(rows / max(blocks, 1)) or 1
    return block, [(a, min(a + TILE[kind], vocabulary)) for a in range(0, vocabulary, TILE[kind])]


_ROOMS: dict[torch.device, torch.Tensor] = {}


def _room(device: torch.device, size: int, parts: int) -> list[torch.Tensor]:
    """`parts` pieces of fp32 memory of `size` numbers, the same ones in every step: a fresh piece costs the system a fault
    for each of its pages, which takes longer than what is written to them."""
    if device not in _ROOMS or len(_ROOMS[device]) < size * parts:
        with torch.inference_mode(False):  # made while evaluating, it is written to by training too
            _ROOMS[device] = torch.empty(size * parts, device=device)
    return [_ROOMS[device][k * size : (k + 1) * size] for k in range(parts)]


def forget() -> None:
    """Give the working memory back."""
    _ROOMS.clear()


def _logits(rows: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor], a: int, z: int) -> torch.Tensor:
    """Columns a … z of the logits of `rows`, in fp32."""
    return linear(rows, head[0][a:z], head[1][a:z]).float()


def _add(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """to += left @ right, `to` in fp32."""
    to.add_(linear(left, right.T))


def fused_losses(
    student: nn.Module, hidden: torch.Tensor, labels: torch.Tensor, *, mlm: float, soft: float = 0.0,
    temperature: float = 1.0, teacher: nn.Module | None = None, teacher_hidden: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """The weighted loss of the vocabulary head, and the MLM and soft-target sums it is made of (without gradient).

    Args:
        student, teacher: BERT MLM models; hidden [rows, hidden] and teacher_hidden [rows, teacher's hidden] are rows of
            their last hidden states. labels [rows]: the hidden token, negative where there is none.
        mlm, soft: weights, already divided by what the sums are means over; 0 leaves the loss out.
    Returns: mlm · Σ CE + soft · T² · Σ KL, Σ CE, T² · Σ KL; nats.
    """
    head = student.cls.predictions
    targets = (None, None, None)
    if soft:
        theirs = teacher.cls.predictions
        with torch.no_grad():
            targets = (theirs.transform(teacher_hidden), theirs.decoder.weight, theirs.decoder.bias)
    rows = head.transform(hidden)
    return _Fused.apply(rows, head.decoder.weight, head.decoder.bias, labels, *targets, mlm, soft, temperature)
