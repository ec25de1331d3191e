"""The vocabulary head of distillation, fused: hidden rows in, loss and gradient out, a block of
rows at a time.

`lib.training.losses.head_losses` holds two logit tensors of [rows, vocabulary], their softmaxes and
their gradients at once. Here a block of rows goes through both heads, its logits become their own
gradient in place, and that becomes the gradients of rows and weights before the next block comes:
memory grows neither with the rows nor with the vocabulary.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from lib.fast.linear import Linear, add_product, compute_dtype, product

BLOCK = {"cpu": (20 * 2**20, 36 * 2**20), "cuda": (2**26, 2**26)}
"""Bytes of one network's logits held at a time, at least and at most: within these a quarter of
all. Fewer rows make thin matrix products."""
FEWEST, MOST = 16, {"cpu": 512, "cuda": 4096}  # rows of a block


class _Fused(torch.autograd.Function):
    """α_mlm · Σ CE + α_soft · T² · Σ KL(σ(z_t/T) ‖ σ(z_s/T)) with z = h Wᵀ + b, and the two sums.

    With p = σ(z_s), p_T = σ(z_s/T), q_T = σ(z_t/T), the gradient of a row's logits is α_mlm (p −
    1_y) + α_soft T (p_T − q_T). It is formed together with the loss, and turned into the gradients
    of h, W and b at once.
    """

    @staticmethod
    def forward(ctx, h, weight, bias, labels, teacher, mlm, soft, temperature, with_gradient):
        device, vocabulary, dtype = h.device.type, len(weight), compute_dtype(h)
        h_t, weight_t, bias_t = teacher
        w, biases = weight.to(dtype), (bias.float(), bias_t.float() if soft else None)
        w_t = weight_t.to(dtype) if soft else None
        # A frozen weight costs no gradient, and nothing does where no gradient is needed.
        rows_learn, weight_learns, bias_learns = (
            with_gradient and needed for needed in ctx.needs_input_grad[:3]
        )
        d_h = torch.empty_like(h, dtype=torch.float32) if rows_learn else None
        d_weight = torch.empty_like(weight, dtype=torch.float32) if weight_learns else None
        sum_mlm = sum_soft = 0.0
        # Loss weights are divided by thousands of positions, which is too small for fp16. Gradients
        # are formed as if the larger one were 1, and scaled in `backward`, in fp32.
        scale = max(mlm, soft * temperature) or 1.0
        weights = (temperature, soft * temperature / scale, mlm / scale)
        row_losses, scratch = _row_losses(h.device, dtype, vocabulary)
        scratch[:, -1] = 0.0
        block = _block_rows(len(h), vocabulary * dtype.itemsize, device)
        with torch.autocast(device, enabled=False):
            for start in range(0, len(h), block):
                rows = slice(start, start + block)
                x = h[rows].to(dtype)
                shape = len(x), vocabulary
                logits = product(x, w.t(), _buffer("student", h.device, dtype, *shape))
                logits_t = None
                if soft:
                    buffer = _buffer("teacher", h.device, dtype, *shape)
                    logits_t = product(h_t[rows].to(dtype), w_t.t(), buffer)
                ce, kl = row_losses(logits, logits_t, labels[rows], biases, scratch, *weights)
                sum_mlm, sum_soft = sum_mlm + ce, sum_soft + kl
                if rows_learn:
                    d_h[rows] = product(logits, w)
                if weight_learns:
                    add_product(d_weight, logits.t(), x, overwrite=start == 0)
        if weight_learns and not len(h):
            d_weight.zero_()
        d_bias = scratch[:, -1].sum(0) if bias_learns else None
        ctx.scale, ctx.dtype = scale, h.dtype
        ctx.save_for_backward(d_h, d_weight, d_bias)
        sums = [
            torch.as_tensor(value, dtype=torch.float32, device=h.device)
            for value in (sum_mlm, temperature**2 * sum_soft)
        ]
        ctx.mark_non_differentiable(*sums)
        return mlm * sums[0] + soft * sums[1], *sums

    @staticmethod
    @once_differentiable
    def backward(ctx, by, *_):
        by = by.float() * ctx.scale
        # In place: a second gradient of the weights would be as large as they are.
        d_h, *rest = (None if part is None else part.mul_(by) for part in ctx.saved_tensors)
        return None if d_h is None else d_h.to(ctx.dtype), *rest, *[None] * 6


def _block_rows(rows: int, row_bytes: int, device: str) -> int:
    """Rows of a block; all blocks have as many, but for what division leaves over."""
    kind = "cuda" if device == "cuda" else "cpu"
    least, most = (max(FEWEST, min(MOST[kind], size // row_bytes)) for size in BLOCK[kind])
    blocks = max(math.ceil(rows / most), min(4, math.ceil(rows / least)))
    return math.ceil(rows / max(blocks, 1)) or 1


# Working memory outlives a call: fresh memory costs a page fault for each of its pages, which takes
# longer than what is written to them.
_BUFFERS: dict[tuple, torch.Tensor] = {}


def _buffer(purpose: str, device: torch.device, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Uninitialised working memory, the same in every step."""
    size, key = math.prod(shape), (purpose, device, dtype)
    if key not in _BUFFERS or len(_BUFFERS[key]) < size:
        with torch.inference_mode(False):  # made while evaluating, training writes to it too
            _BUFFERS[key] = torch.empty(size, dtype=dtype, device=device)
    return _BUFFERS[key][:size].view(shape)


def free_buffers() -> None:
    """Free the working memory."""
    _BUFFERS.clear()


def _row_losses(device: torch.device, dtype: torch.dtype, vocabulary: int):
    """The function that turns logits into losses and gradient, and the scratch memory it needs."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return plain_rows, torch.empty(1, 1, vocabulary, device=device)
    from lib.fast import kernels  # only when needed: it loads a compiler

    shape = torch.get_num_threads(), kernels.SCRATCH_ROWS, vocabulary
    return kernels.head_rows, _buffer("rows", device, torch.float32, *shape)


def plain_rows(logits, logits_t, labels, biases, scratch, temperature, soft, mlm):
    """`lib.fast.kernels.head_rows` in PyTorch's operations, for GPUs and other formats."""
    z = logits.float().add_(biases[0])
    ce = kl = 0.0
    masked = (labels >= 0).nonzero().squeeze(-1) if mlm else labels.new_empty(0)
    gradient = torch.zeros_like(z) if not soft else None
    if soft:
        log_q = logits_t.float().add_(biases[1]).div_(temperature).log_softmax(-1)
        log_p = (z / temperature).log_softmax(-1)
        q = log_q.exp()
        kl = log_q.sub_(log_p).mul_(q).sum(dtype=torch.float64)
        gradient = log_p.exp_().sub_(q).mul_(soft)
    if len(masked):
        log_p, y = z[masked].log_softmax(-1), labels[masked].unsqueeze(-1)
        ce = -log_p.gather(1, y).sum(dtype=torch.float64)
        hard = log_p.exp_().mul_(mlm)
        gradient.index_add_(0, masked, hard.scatter_add_(1, y, hard.new_full(y.shape, -mlm)))
    scratch[:, -1] += gradient.sum(0)
    logits.copy_(gradient)
    return ce, kl


class _Tied(torch.autograd.Function):
    """Looked-up embeddings and the weight itself, for the head that is tied to them.

    The gradient of the weight is one array: that of the head, with the rows that were looked up
    added in place. Autograd would make a second array of the vocabulary's size for them.
    """

    @staticmethod
    def forward(ctx, weight, ids, padding_id):
        ctx.save_for_backward(ids)
        ctx.padding_id = padding_id
        return F.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_words, d_weight):
        (ids,) = ctx.saved_tensors
        learns = ids != (-1 if ctx.padding_id is None else ctx.padding_id)
        return d_weight.index_add_(0, ids[learns], d_words[learns].to(d_weight.dtype)), None, None


class FusedHead:
    """What `quicken` puts in the place of an objective's `hidden_states` and `head_losses`.

    `hidden_states` leaves the weight that the head shares with the embeddings in `tied`, for the
    call of `losses` that follows. `decoder_input`: lib.training.models.decoder_input.
    """

    def __init__(self, decoder_input: Callable):
        self.decoder_input = decoder_input
        self.tied: torch.Tensor | None = None

    def hidden_states(self, model: nn.Module, batch) -> torch.Tensor:
        """The last hidden states of a model's encoder, [sequences, length, hidden]."""
        embedding, mask = model.get_input_embeddings(), batch.kept.long()
        weight = embedding.weight
        if not weight.requires_grad or weight is not model.get_output_embeddings().weight:
            out = model.base_model(input_ids=batch.inputs, attention_mask=mask)
            return out.last_hidden_state
        words, self.tied = _Tied.apply(weight, batch.inputs, embedding.padding_idx)
        own, more = model.base_model.embeddings, {}
        if hasattr(own, "create_position_ids_from_input_ids"):  # RoBERTa counts what is no padding
            positions = own.create_position_ids_from_input_ids(batch.inputs, own.padding_idx)
            more = {"position_ids": positions}
        out = model.base_model(inputs_embeds=words, attention_mask=mask, **more)
        return out.last_hidden_state

    def losses(
        self,
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
        """As lib.training.losses.head_losses; the two sums have no gradient."""
        targets = None, None, None
        if soft:
            with torch.no_grad():
                targets = self._logits_parts(teacher, teacher_hidden, mlm_head)
        rows, weight, bias = self._logits_parts(student, hidden, mlm_head)
        weight, self.tied = weight if self.tied is None else self.tied, None
        with_gradient = torch.is_grad_enabled()
        return _Fused.apply(
            rows, weight, bias, labels, targets, mlm, soft, temperature, with_gradient
        )

    def _logits_parts(
        self, model: nn.Module, hidden: torch.Tensor, mlm_head: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, weight and bias: logits are rows · weightᵀ + bias. Without the head: the hidden
        rows as they are, the embeddings, and nothing. A frozen weight is cast already."""
        decoder, words = model.get_output_embeddings(), model.get_input_embeddings().weight
        weight = decoder.weight if mlm_head else words
        if isinstance(decoder, Linear) and decoder.frozen and weight is decoder.weight:
            weight = decoder.cast(compute_dtype(hidden))[0]
        rows = self.decoder_input(model, hidden) if mlm_head else hidden
        if mlm_head and decoder.bias is not None:
            return rows, weight, decoder.bias
        return rows, weight, weight.new_zeros(len(weight))
