"""Whole-word masking by tensor operations, for any tokenizer that says which tokens start a word."""

import torch

IGNORE = -100
"""Label of a position that no MLM loss is computed for (PyTorch's own convention)."""


def whole_word_mask(
    ids: torch.Tensor,
    word_start: torch.Tensor,
    maskable: torch.Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    probability: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose words, hide their tokens (80 % mask, 10 % a random token, 10 % left alone); BERT (Devlin et al. 2018).

    Args:
        ids: [batch, length] token ids.
        word_start: [batch, length] bool, True where a token begins a word. Tokens before the first start of a row (the
            rest of a word that was cut) count as one word. Pass all True to mask token by token.
        maskable: [batch, length] bool, False on special tokens and padding.
        probability: share of *words* chosen, so also the expected share of tokens.
        generator: source of randomness; the same state gives the same masks.

    Returns:
        inputs and labels, both [batch, length]; labels are `IGNORE` where nothing is to be predicted.
    """
    word = (word_start & maskable).long().cumsum(dim=1)
    # One draw for every word a row could have; all tokens of a word look up the same draw.
    draw = torch.rand(ids.shape[0], ids.shape[1] + 1, generator=generator)
    chosen = (draw.gather(1, word) < probability) & maskable
    labels = ids.masked_fill(~chosen, IGNORE)

    fate = torch.rand(ids.shape, generator=generator)
    anything = torch.randint(vocab_size, ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), anything, inputs)
    return inputs, labels
