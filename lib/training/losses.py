"""The losses of distillation, each a sum over positions: the caller divides once, by the count of
the whole batch. So k accumulated micro-batches equal one batch of all their sequences.

`lib.fast.head` computes the same as `head_losses`, faster. What a new loss needs besides its
equation here: see lib.training.objectives.
"""

import torch
import torch.nn.functional as F
from torch import nn

from lib.training.models import decoder_input


def mlm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Hard target loss: Σ_rows −log σ(z_s)[y]; 001 eq. (2), L_mlm of 002.

    logits [rows, vocabulary]; labels [rows], none ignored. Nats, summed over rows.
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def soft_target_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Soft target loss: T² · Σ_rows KL(σ(z_t/T) ‖ σ(z_s/T)); Hinton et al. 2015, L_ce of 002.

    The sources print KL(student ‖ teacher) (001 eq. 1). Their code, DistilBERT's and this compute
    the forward divergence KL(teacher ‖ student), whose gradient is the cross-entropy's. T² keeps
    the size of the gradient when T changes.

    Logits of student and teacher, [rows, vocabulary]; T > 0. Nats × T², summed over rows.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.float() / temperature, dim=-1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True) * temperature**2


def logits_of(model: nn.Module, hidden: torch.Tensor, mlm_head: bool = True) -> torch.Tensor:
    """Logits of hidden rows, [rows, vocabulary]: what the MLM head makes of them, or without it
    their products with the embeddings, hidden · Eᵀ, as in the code of 000."""
    if mlm_head:
        return model.get_output_embeddings()(decoder_input(model, hidden))
    return F.linear(hidden, model.get_input_embeddings().weight)


def head_losses(
    student: nn.Module,
    hidden: torch.Tensor,
    labels: torch.Tensor,
    *,
    mlm: float,
    soft: float = 0.0,
    temperature: float = 1.0,
    teacher: nn.Module | None = None,
    teacher_hidden: torch.Tensor | None = None,
    mlm_head: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The losses on logits: mlm · Σ CE + soft · T² · Σ KL; and, without their weights, Σ CE and
    T² · Σ KL.

    Args:
        student, teacher: models with an MLM head.
        hidden, teacher_hidden: rows of their last hidden states, [rows, hidden size of each].
        labels: [rows], the token that was masked; negative where none was.
        mlm, soft: weights, already divided by the number of positions; 0 leaves the loss out.
        mlm_head: whether logits are the heads' or those without (`logits_of`), of both networks.
    """
    logits, masked = logits_of(student, hidden, mlm_head), labels >= 0
    cross_entropy = divergence = hidden.new_zeros(())
    if mlm:
        cross_entropy = mlm_loss(logits[masked], labels[masked])
    if soft:
        with torch.no_grad():
            teacher_logits = logits_of(teacher, teacher_hidden, mlm_head)
        divergence = soft_target_loss(logits, teacher_logits, temperature)
    return mlm * cross_entropy + soft * divergence, cross_entropy, divergence


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine embedding loss: Σ_rows 1 − cos(h_s, h_t); 001 eq. (4), L_cos of 002.

    Hidden states, both [rows, hidden]; in the code of 000 logits, [rows, vocabulary]. 0 … 2 a row.
    """
    return (1.0 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()


def hidden_loss(
    student: torch.Tensor, target: torch.Tensor, kept: torch.Tensor | None = None
) -> torch.Tensor:
    """Σ_rows MSE of hidden outputs; 004 eq. (5) and (6) are the mean of this over the rows.

    Both [..., hidden]; kept [...]: True on real tokens, padding is left out; None: all are real.
    Squared activations, summed over rows.
    """
    rows = None if kept is None else kept.unsqueeze(-1)
    return _squared_error(student, target, rows) / student.shape[-1]


def attention_loss(
    student: torch.Tensor, target: torch.Tensor, kept: torch.Tensor | None = None
) -> torch.Tensor:
    """Σ over pairs of real query and real key of the heads' mean squared difference of attention
    maps. Divided by the number of pairs, Σ length², it is the mean of the heads' MSE; 004 eq. (4)
    and (6).

    Padding is left out: a padded key has weight 0 in both maps and would only dilute the mean, and
    what a padded query attends to is never read.

    Maps [sequences, heads, length, length], queries before keys; kept [sequences, length]: True on
    real tokens; None: all are real. Squared attention weights, summed over pairs.
    """
    pairs = None if kept is None else kept[:, None, :, None] & kept[:, None, None, :]
    return _squared_error(student, target, pairs) / student.shape[1]


def _squared_error(
    student: torch.Tensor, target: torch.Tensor, kept: torch.Tensor | None
) -> torch.Tensor:
    """Σ (student − target)² over the elements that `kept`, which broadcasts, says are real."""
    student, target = student.float(), target.float()
    if kept is not None:
        student, target = (part.masked_fill(~kept, 0.0) for part in (student, target))
    return F.mse_loss(student, target, reduction="sum")


def relation_loss(
    student: torch.Tensor, teacher: torch.Tensor, heads: int, kept: torch.Tensor
) -> torch.Tensor:
    """Σ over real tokens of the heads' mean KL(R_t ‖ R_s), where R = softmax(A Aᵀ / √d) are the
    relations of a token to all tokens of its sequence; MiniLMv2 (Wang et al. 2021) eq. (3) to (6),
    whose A are the queries, the keys, or the values of a layer.

    Padding is left out: no token has a relation to it, and its own rows do not count.

    Vectors of student and teacher, [sequences, length, width of each], which are split anew into
    `heads` of d = width / heads; kept [sequences, length]: True on real tokens. Nats, summed over
    rows.
    """
    log_q, log_p = (_log_relations(vectors, heads, kept) for vectors in (student, teacher))
    rows = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    return rows.masked_fill(~kept[:, None], 0.0).sum() / heads


def _log_relations(vectors: torch.Tensor, heads: int, kept: torch.Tensor) -> torch.Tensor:
    """log softmax(A Aᵀ / √d), [sequences, heads, length, length]."""
    split = vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = split @ split.mT / split.shape[-1] ** 0.5
    scores = scores.masked_fill(~kept[:, None, None], torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)
