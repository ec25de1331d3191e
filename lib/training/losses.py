"""The losses of distillation, each a sum over positions: the caller divides once, by the count of
the whole batch.

Sums make k accumulated micro-batches equal to one batch of all their sequences, however the
positions fall.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


def mlm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Hard target loss: Σ_rows −log σ(z_s)[y]; 001 eq. (2), L_mlm of 002.

    Args: logits [rows, vocabulary]; labels [rows] with no ignored entries. Unit: nats, summed over
    rows.
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def soft_target_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Soft target loss: T² · Σ_rows KL(σ(z_t/T) ‖ σ(z_s/T)); Hinton et al. 2015, L_ce of 002.

    The seeds print KL(student ‖ teacher) (001 eq. 1); their code, DistilBERT's and ours compute the
    forward divergence KL(teacher ‖ student), whose gradient is the cross-entropy's. T² keeps the
    gradient's size when T changes.

    Args: student and teacher logits, both [rows, vocabulary]; temperature T > 0. Unit: nats × T²,
    summed over rows.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.float() / temperature, dim=-1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True) * temperature**2


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine embedding loss: Σ_rows 1 − cos(h_s, h_t); 001 eq. (4), L_cos of 002.

    Args: hidden states, both [rows, hidden], of the same width. Range: 0 … 2 a row.
    """
    return (1.0 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()


class _SquaredError(torch.autograd.Function):
    """Σ (student − target)², over the elements where `counted` (which broadcasts) is not 0; None
    counts all.

    The difference alone is kept, where the target was if that is `spent`, and becomes the gradient
    in place: as many passes over memory as it takes, and no more.
    """

    @staticmethod
    def forward(ctx, student, target, counted, spent):
        target = target.float()
        difference = torch.sub(student.float(), target, out=target if spent else None)
        if counted is not None:
            difference.mul_(counted)
        ctx.save_for_backward(difference)
        ctx.dtype, ctx.used = student.dtype, False
        flat = difference.flatten()
        return torch.dot(flat, flat)

    @staticmethod
    @once_differentiable
    def backward(ctx, by):
        if ctx.used:
            raise RuntimeError(
                "the gradient of this loss can be had once: its memory is used again"
            )
        ctx.used = True
        return ctx.saved_tensors[0].mul_(2 * by).to(ctx.dtype), None, None, None


def hidden_loss(
    student: torch.Tensor,
    target: torch.Tensor,
    kept: torch.Tensor | None = None,
    spent: bool = False,
) -> torch.Tensor:
    """Σ_rows MSE of hidden outputs: 004 eq. (5) and (6), where the mean over all elements is the
    mean over rows of this.

    Args: both [..., hidden]; kept [...], True on real tokens: padding is left out. Without it all
    rows are real. spent: nobody
        else needs the target, and its memory is used. Unit: squared activations, summed over rows.
    """
    counted = None if kept is None else kept.unsqueeze(-1)
    return _SquaredError.apply(student, target, counted, spent) / student.shape[-1]


def attention_loss(
    student: torch.Tensor,
    target: torch.Tensor,
    kept: torch.Tensor | None = None,
    spent: bool = False,
) -> torch.Tensor:
    """Σ_pairs of real query and real key, mean over heads, of the squared difference of attention
    maps; 004 eq. (4), (6).

    Divided by the number of pairs, Σ length², this is the mean of the heads' MSE. Padding is left
    out: a padded key has weight 0 in both maps and would only dilute the mean, a padded query
    attends to something nobody reads.

    Args: maps [sequences, heads, length, length], queries before keys; kept [sequences, length],
    True on real tokens;
        without it all are real; spent: as above.
    """
    counted = None if kept is None else kept[:, None, :, None] & kept[:, None, None, :]
    return _SquaredError.apply(student, target, counted, spent) / student.shape[1]
