"""What is compared: shapes, precisions, positions, and the sequences that all implementations get
alike."""

from dataclasses import dataclass, replace

import numpy as np

from lib.common.errors import InputError
from lib.training.parameters import LOSSES

POOL = 16
"""Batches of a case with real lengths: sequences are grouped by length within so many, as
`lib.training.batches` does."""
TEMPERATURE, SOFT, MLM, COSINE = 2.0, 5.0, 2.0, 1.0
"""The objective of DistilBERT's authors (002): T, and the weights of the three losses."""
MASKED = 0.15
MATCHED = ("hidden", "attention", "relations")
"""The losses that are measured alone: hidden outputs and attention maps of evenly spaced layers,
relations of the last."""


@dataclass(frozen=True)
class Case:
    """One comparison. `name` is `<group>-<positions>`, or `<group>` where no logits are compared.

    Attributes:
        layers: of the teacher and of the student.
        lengths: `full`, all sequences as long as `length`; `real`, some 37 of 128 tokens on
        average. kind: `distillation`; `hop`, one hop of a cascade; or one of MATCHED. target: the largest time as a
        share of plain's (fp32 whatever `precision` is) that is aimed at; rate: the smallest
            share of the machine's matrix-product rate. None: no aim.
        keep: with an allocator that keeps freed memory, as training sets it, for all
        implementations.
    """

    name: str
    vocab: int = 30522
    hidden: int = 256
    heads: int = 4
    layers: tuple[int, int] = (4, 2)
    batch: int = 8
    length: int = 128
    precision: str = "fp32"
    positions: str = "all"
    lengths: str = "full"
    kind: str = "distillation"
    target: float | None = None
    rate: float | None = None
    pool: int = 1
    keep: bool = False

    @property
    def intermediate(self) -> int:
        return 4 * self.hidden

    @property
    def objective(self) -> str:
        """What is minimised, in words: the column of steps.csv that tells cases of like shape
        apart."""
        if self.kind == "hop":
            return f"hop {self.layers[0]} to {self.layers[1]}"
        if self.kind in MATCHED:
            return LOSSES[self.kind].title
        real = ", real lengths" if self.lengths == "real" else ""
        kept = ", memory kept" if self.keep else ""
        return f"soft + mlm + cosine, {self.positions} positions{real}{kept}"


BASE = dict(hidden=768, heads=12, layers=(12, 6))
SMALL, SHORT = Case("small"), Case("real", lengths="real", pool=POOL)


def _both(
    case: Case, all_positions: float | None = None, masked: float | None = None, **of_all
) -> list[Case]:
    """The case at all positions and at the masked ones, with their targets."""
    return [
        replace(case, name=f"{case.name}-all", target=all_positions, **of_all),
        replace(case, name=f"{case.name}-masked", positions="masked", target=masked),
    ]


CASES = [
    *_both(SMALL, 0.28, 0.15),
    *_both(replace(SMALL, name="small_bf16", precision="bf16"), 0.18, 0.07),
    *_both(SHORT, 0.12, 0.06),
    *_both(replace(SMALL, name="vocab50k", vocab=50_000)),
    *_both(replace(SMALL, name="vocab120k", vocab=119_547)),
    *_both(Case("base", **BASE), 0.65, 0.47, rate=0.75),
    *_both(Case("base_bf16", precision="bf16", **BASE), 0.27, 0.20, rate=0.35),
    *(replace(SMALL, name=loss, kind=loss) for loss in MATCHED),
    *(Case(f"base_{loss}", kind=loss, **BASE) for loss in MATCHED),
    Case("hop", kind="hop", target=0.6, **BASE | {"layers": (12, 11)}),
    Case("hop_bf16", kind="hop", precision="bf16", target=0.6, **BASE | {"layers": (12, 11)}),
    *_both(replace(SMALL, name="kept", keep=True)),
    *_both(Case("base_kept", keep=True, **BASE), rate=0.75),
]

_TINY = dict(vocab=211, hidden=16, heads=2, layers=(3, 2), batch=4, length=32)
QUICK = [
    Case("small-all", target=0.28, rate=0.75, **_TINY),
    Case("real-masked", positions="masked", lengths="real", pool=3, **_TINY),
    Case("vocab-all", precision="bf16", **_TINY | {"vocab": 997}),
    Case("hop", kind="hop", target=0.6, **_TINY),
    Case("hidden", kind="hidden", **_TINY),
]


def chosen(words: str, cases: list[Case]) -> list[Case]:
    """The cases of these names or groups (`small` is small-all and small-masked); all for no words.
    Raises InputError."""
    names = [name for case in cases for name in (case.name, case.name.split("-")[0])]
    for word in words.split():
        if word not in names:
            groups = " ".join(dict.fromkeys(name.split("-")[0] for name in names))
            raise InputError(
                f"CASES: there is no case {word!r}; allowed are {groups}, and -all or -masked "
                f"behind those that compare logits"
            )
    wanted = words.split() or names
    return [case for case in cases if case.name in wanted or case.name.split("-")[0] in wanted]


def sequence_lengths(case: Case) -> np.ndarray:
    """[pool · batch] tokens in each sequence; the real ones from a gamma distribution, fixed and
    seeded, with the mean 37/128 of the longest and many short ones, as sentences are."""
    count = case.pool * case.batch
    if case.lengths == "full":
        return np.full(count, case.length)
    drawn = np.random.default_rng(37).gamma(2.0, 1.0, count)
    scaled = drawn * (37 / 128 * case.length / drawn.mean())
    return np.clip(scaled.round().astype(int), min(5, case.length), case.length)
