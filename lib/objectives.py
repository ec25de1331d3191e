"""What a training step minimises. Each objective is a module, so that one process and many call it alike.

An objective has `counts(batch)`, the positions its means run over, and `forward(batch, totals)`, which returns every
component *divided by the totals of the whole step*, weighted and summed under `loss`. Losses on logits come from `lib.head`.
"""

import torch
from torch import nn

from lib.batches import Batch
from lib.head import fused_losses
from lib.losses import cosine_loss
from lib.masking import IGNORE


def hidden_states(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The last hidden states of the model's trunk, [sequences, length, hidden]."""
    return model.base_model(input_ids=batch.inputs, attention_mask=batch.kept.long()).last_hidden_state


class Distillation(nn.Module):
    """L = α_soft · L_soft + α_mlm · L_mlm + α_cos · L_cos; 001 eq. (4), 002. Without a teacher: MLM alone.

    Args:
        positions: where the soft targets are compared: `all` non-padding positions, as DistilBERT's authors do, or only
            the `masked` ones. The cosine loss runs over all non-padding positions, the MLM loss over the masked ones.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None = None, *, mlm: float = 1.0, soft: float = 0.0,
                 cosine: float = 0.0, temperature: float = 2.0, positions: str = "all"):  # fmt: skip
        super().__init__()
        self.student = student
        self._teacher = (
            [] if teacher is None else [teacher.eval()]
        )  # in a list, so that it is no submodule and is not trained
        self.weights = {"mlm": mlm, "soft": soft, "cosine": cosine}
        self.temperature, self.positions = temperature, positions

    def to(self, *args, **kwargs) -> "Distillation":
        for teacher in self._teacher:
            teacher.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Number of masked and of non-padding positions: the denominators of the three means."""
        return {"masked": int((batch.labels != IGNORE).sum()), "kept": int(batch.kept.sum())}

    def forward(self, batch: Batch, totals: dict[str, int]) -> dict[str, torch.Tensor]:
        """Components and their weighted sum `loss`, each a share of the step's mean."""
        mlm, soft, cosine = (self.weights[name] for name in ("mlm", "soft", "cosine"))
        masked, kept = batch.labels != IGNORE, batch.kept
        everywhere = bool(soft) and self.positions == "all"
        rows = kept if everywhere else masked  # the only rows whose logits anybody needs
        per_masked, per_kept = 1 / max(1, totals["masked"]), 1 / max(1, totals["kept"])
        per_row = per_kept if everywhere else per_masked
        student = hidden_states(self.student, batch)
        if soft or cosine:
            with torch.no_grad():
                teacher = hidden_states(self._teacher[0], batch)
        out = {}
        loss = student.new_zeros(())
        if mlm or soft:
            distilled = {"teacher": self._teacher[0], "teacher_hidden": teacher[rows]} if soft else {}
            loss, cross_entropy, divergence = fused_losses(
                self.student, student[rows], batch.labels[rows], mlm=mlm * per_masked, soft=soft * per_row,
                temperature=self.temperature, **distilled,
            )  # fmt: skip
            out |= {"mlm": cross_entropy * per_masked} if mlm else {}
            out |= {"soft": divergence * per_row} if soft else {}
        if cosine:
            out["cosine"] = cosine_loss(student[kept], teacher[kept]) * per_kept
            loss = loss + cosine * out["cosine"]
        return {**out, "loss": loss}
