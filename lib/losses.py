"""The losses of distillation, each a sum over positions: the caller divides once, by the count of the whole batch.

Sums make k accumulated micro-batches equal to one batch of all their sequences, however the positions fall.
"""

import torch
import torch.nn.functional as F


def mlm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Hard target loss: Σ_rows −log σ(z_s)[y]; 001 eq. (2), L_mlm of 002.

    Args: logits [rows, vocabulary]; labels [rows] with no ignored entries. Unit: nats, summed over rows.
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def soft_target_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Soft target loss: T² · Σ_rows KL(σ(z_t/T) ‖ σ(z_s/T)); Hinton et al. 2015, L_ce of 002.

    The seeds print KL(student ‖ teacher) (001 eq. 1); their code, DistilBERT's and ours compute the forward divergence
    KL(teacher ‖ student), whose gradient is the cross-entropy's. T² keeps the gradient's size when T changes.

    Args: student and teacher logits, both [rows, vocabulary]; temperature T > 0. Unit: nats × T², summed over rows.
    """
    log_q = F.log_softmax(student.float() / temperature, dim=-1)
    log_p = F.log_softmax(teacher.float() / temperature, dim=-1)
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True) * temperature**2


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cosine embedding loss: Σ_rows 1 − cos(h_s, h_t); 001 eq. (4), L_cos of 002.

    Args: hidden states, both [rows, hidden], of the same width. Range: 0 … 2 a row.
    """
    return (1.0 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()


def hidden_loss(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Σ_rows MSE of hidden outputs: 004 eq. (5) and (6), where the mean over all elements is the mean over rows of this.

    Args: both [rows, hidden], rows being real tokens: padding is left out. Unit: squared activations, summed over rows.
    """
    return (student.float() - target.float()).square().mean(-1).sum()


def attention_loss(student: torch.Tensor, target: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Σ_pairs of real query and real key, mean over heads, of the squared difference of attention maps; 004 eq. (4), (6).

    Divided by the number of pairs, Σ length², this is the mean of the heads' MSE. Padding is left out: a padded key has
    weight 0 in both maps and would only dilute the mean, a padded query attends to something nobody reads.

    Args: maps [sequences, heads, length, length], queries before keys; kept [sequences, length], True on real tokens.
    """
    pairs = kept[:, None, :, None] & kept[:, None, None, :]
    difference = (student.float() - target.float()).masked_fill(~pairs, 0.0)
    return difference.square().sum() / student.shape[1]
