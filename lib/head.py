"""The vocabulary head of distillation, fused: hidden rows in, loss and gradient out, a block of rows at a time.

The plain way holds two logit tensors of [rows, vocabulary], their softmaxes and their gradients at once. Here a block of
rows goes through both heads, gives its share of the losses and of the combined gradient, and is forgotten: memory does not
grow with the number of rows, and the logits stay in cache between the passes over them.
"""

import torch
import torch.nn.functional as F
from torch import nn

BLOCK = 256  # rows at a time: enough to fill a matrix product, few enough to stay near the processor


class _Fused(torch.autograd.Function):
    """α_mlm · Σ CE + α_soft · T² · Σ KL(σ(z_t/T) ‖ σ(z_s/T)) with z = h Wᵀ + b, and the two sums apart.

    With p = σ(z_s), p_T = σ(z_s/T), q_T = σ(z_t/T), the gradient of a row's logits is α_mlm (p − 1_y) + α_soft T (p_T − q_T).
    It is formed at once with the loss, and turned into the gradients of h, W and b block by block.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, labels, teacher, teacher_weight, teacher_bias, mlm, soft, temperature):
        low = (
            torch.get_autocast_dtype(hidden.device.type)
            if torch.is_autocast_enabled(hidden.device.type)
            else hidden.dtype
        )
        w, b = weight.to(low), bias.to(low)
        theirs = (teacher_weight.to(low), teacher_bias.to(low)) if soft else None
        rows_learn, weight_learns, bias_learns = ctx.needs_input_grad[:3]  # a frozen weight costs no gradient
        d_hidden = torch.empty_like(hidden) if rows_learn else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if weight_learns else None
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if bias_learns else None
        sum_mlm, sum_soft = torch.zeros(2, device=hidden.device).unbind()
        # The weights are divided by thousands of positions: too small for fp16. Gradients are formed as if the larger were
        # 1, and get their size in `backward`, in fp32.
        scale = max(mlm, soft * temperature) or 1.0
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), BLOCK):
                rows = slice(start, start + BLOCK)
                h = hidden[rows].to(low)
                logits = F.linear(h, w, b).float()
                here = (labels[rows] >= 0).nonzero().squeeze(-1) if mlm else labels.new_empty(0)
                if len(here):
                    by_label, loss = _mlm(
                        logits if len(here) == len(logits) else logits[here], labels[rows][here], mlm / scale
                    )
                    sum_mlm += loss
                if soft:
                    targets = F.linear(teacher[rows].to(low), *theirs).float()
                    gradient, loss = _soft(logits, targets, soft / scale, temperature)
                    sum_soft += loss
                    if len(here):
                        gradient.index_add_(0, here, by_label)
                else:
                    gradient = by_label  # without soft targets every row has a label
                g = gradient.to(low)
                if rows_learn:
                    d_hidden[rows] = g @ w
                if weight_learns:
                    d_weight.addmm_(g.T, h) if low == torch.float32 else d_weight.add_(g.T @ h)
                if bias_learns:
                    d_bias += gradient.sum(0)
        ctx.scale = scale
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.mark_non_differentiable(sum_mlm, sum_soft)
        return mlm * sum_mlm + soft * sum_soft, sum_mlm, sum_soft

    @staticmethod
    def backward(ctx, by, *_):
        by = by.float() * ctx.scale
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        found = (None if part is None else (part.float() * by).to(part.dtype) for part in (d_hidden, d_weight, d_bias))
        return (*found, *[None] * 7)


def _mlm(logits: torch.Tensor, labels: torch.Tensor, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the logits [rows, vocabulary] and the summed cross-entropy."""
    log_p = F.log_softmax(logits, dim=-1)
    place = torch.arange(len(labels), device=labels.device), labels
    loss = -log_p[place].sum()
    gradient = log_p.exp_()
    gradient[place] -= 1.0
    return gradient.mul_(weight), loss


def _soft(logits, targets, weight: float, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the student's logits and T² · ΣKL. Uses up both arguments."""
    log_p = F.log_softmax(logits.div_(temperature), dim=-1)
    log_q = F.log_softmax(targets.div_(temperature), dim=-1)
    q = log_q.exp()
    loss = temperature**2 * torch.dot(q.flatten(), log_q.sub_(log_p).flatten())
    return log_p.exp_().sub_(q).mul_(weight * temperature), loss


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
