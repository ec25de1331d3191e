"""The loss on relations, a few sequences at a time: no map is kept.

`lib.training.losses.relation_loss` keeps some four maps of [sequences, heads, length, length] for
its backward pass, three times. Here the maps of some sequences become the gradient of their vectors
together with the loss.
"""

import torch
from torch.autograd.function import once_differentiable

MAPS = 2**21
"""Elements of one map that are held at a time, at most, unless one sequence has more."""


class _Relations(torch.autograd.Function):
    """Σ KL(R_t ‖ R_s) / heads with R = softmax(S), S = A Aᵀ / √d. The gradient of S_s is D = R_s −
    R_t in rows of real tokens and 0 in others; that of A_s is (D + Dᵀ) A_s / √d."""

    @staticmethod
    def forward(ctx, student, teacher, heads, kept):
        d_student = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        length = student.shape[1]
        step = max(1, MAPS // (heads * length**2))
        total = 0.0
        with torch.autocast(student.device.type, enabled=False):
            for start in range(0, len(student), step):
                some = slice(start, start + step)
                padded = ~kept[some, None]
                vectors = _split(student[some], heads)
                log_q = _log_softmax(vectors, padded)
                log_p = _log_softmax(_split(teacher[some], heads), padded)
                p, padded_rows = log_p.exp(), padded.unsqueeze(-1)
                kl = log_p.sub_(log_q).mul_(p).masked_fill_(padded_rows, 0.0)
                total = total + kl.sum(dtype=torch.float64)
                if d_student is not None:
                    d_scores = log_q.exp_().sub_(p).masked_fill_(padded_rows, 0.0)
                    d_vectors = d_scores @ vectors + d_scores.mT @ vectors
                    d_vectors /= heads * vectors.shape[-1] ** 0.5
                    d_student[some] = d_vectors.transpose(1, 2).flatten(2)
        ctx.save_for_backward(d_student)
        return (total / heads).float()

    @staticmethod
    @once_differentiable
    def backward(ctx, by):
        (d_student,) = ctx.saved_tensors
        return d_student * by, None, None, None


def _split(vectors: torch.Tensor, heads: int) -> torch.Tensor:
    """[sequences, heads, length, width / heads] in fp32."""
    return vectors.detach().float().unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()


def _log_softmax(vectors: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
    scores = vectors @ vectors.mT
    scores.mul_(vectors.shape[-1] ** -0.5)
    scores.masked_fill_(padded.unsqueeze(-2), torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)


def relation_loss(
    student: torch.Tensor, teacher: torch.Tensor, heads: int, kept: torch.Tensor
) -> torch.Tensor:
    """As lib.training.losses.relation_loss."""
    return _Relations.apply(student, teacher, heads, kept)
