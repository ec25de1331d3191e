"""The claims of 000, Distillation of HerBERT, one entry each. Machinery and verdict rule stand in `lib.claims`.

Not in the ledger: the 20 hours on one Titan V (000, section 4), which only that card could repeat.
"""

from collections.abc import Callable, Sequence

from lib import papers
from lib.claims import (
    MEAN,
    Claim,
    Pair,
    about,
    above,
    at_size,
    below,
    megabytes,
    ratio,
    smallest_gain,
    tokens_per_parameter,
)

IN, OUT, NER = HERBERT_TASKS = ["polemo2-in", "polemo2-out", "nkjp-ner"]
_EPOCHS = papers.fact("000", "pretraining_epochs")
_SHARE = ratio("herbert", "S3", "T1", "parameters", scale=100)


def _herbert(
    id: str, place: str, claim: str, pairs: Sequence[Pair], on: Sequence[str], expected: tuple[float, float] = above(0)
) -> Claim:
    """A claim on scores: the smallest gain over `pairs` and `on`, ours and the report's (Table 2)."""
    theirs = papers.table("000", "results")
    theirs[MEAN] = theirs[HERBERT_TASKS].mean(axis=1)
    paper_value = min(theirs.loc[better, task] - theirs.loc[worse, task] for better, worse in pairs for task in on)
    evidence = smallest_gain("herbert", pairs, HERBERT_TASKS, on)
    return Claim(id, f"000, {place}", claim, round(paper_value, 2), evidence, expected)


def _over(better: str, *others: str) -> list[Pair]:
    return [(better, other) for other in others]


def _at_paper_size(measure: Callable) -> Callable:
    return at_size(measure, "herbert", "T1", papers.fact("000", "teacher_parameters"))


def _fact(id: str, place: str, claim: str, fact: str, evidence: Callable, expected: tuple[float, float]) -> Claim:
    return Claim(id, f"000, {place}", claim, papers.fact("000", fact), evidence, expected)


HERBERT = [
    _herbert(
        "herbert-s4-best-ner",
        "section 5",
        "S4 scores highest of S0–S4 on NKJP-NER.",
        _over("S4", "S0", "S1", "S2", "S3"),
        [NER],
    ),
    _herbert(
        "herbert-s4-best-in",
        "section 5",
        "S4 scores highest of S0–S4 on PolEmo2.0-IN.",
        _over("S4", "S0", "S1", "S2", "S3"),
        [IN],
    ),
    _herbert(
        "herbert-s3-best-out",
        "Table 2 (the text has S3 second)",
        "S3 scores highest of S0–S4 on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2", "S4"),
        [OUT],
    ),
    _herbert(
        "herbert-distilled-best-out",
        "Table 2",
        "S3 and S4 both beat S0–S2 on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2") + _over("S4", "S0", "S1", "S2"),
        [OUT],
    ),
    _herbert(
        "herbert-s0-worst",
        "section 5",
        "S0, random and never pretrained, is the worst of all on every task.",
        [(name, "S0") for name in ("S1", "S2", "S3", "S4")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-s1-over-s0",
        "Table 2",
        "Pretraining from random weights helps on every task (S1 over S0).",
        [("S1", "S0")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-mlm-improves",
        "section 5",
        "Training with the MLM loss improves the mean (S1 over S0).",
        [("S1", "S0")],
        [MEAN],
    ),
    _herbert(
        "herbert-s2-over-s1",
        "Table 2",
        "Initial weights from the teacher help on every task (S2 over S1).",
        [("S2", "S1")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-distillation-improves",
        "section 5",
        "The distillation loss improves the mean (S3 over S2).",
        [("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "herbert-s3-over-s2",
        "Table 2",
        "The distillation loss helps on every task (S3 over S2).",
        [("S3", "S2")],
        HERBERT_TASKS,
    ),
    _herbert(
        "herbert-s3-s2-slight",
        "section 5",
        "S3 and S2 differ only slightly: under 2 points in the mean score.",
        [("S3", "S2")],
        [MEAN],
        about(0, 2),
    ),
    _herbert(
        "herbert-s4-over-s3",
        "section 5",
        "A teacher trained further gives a better student (S4 over S3, mean).",
        [("S4", "S3")],
        [MEAN],
    ),
    _herbert(
        "herbert-s4-not-everywhere",
        "section 5",
        "The gain of S4 over S3 is absent on at least one task.",
        [("S4", "S3")],
        HERBERT_TASKS,
        below(0),
    ),
    _herbert(
        "herbert-order",
        "Table 2",
        "The mean score rises from each scenario to the next, S0 < S1 < S2 < S3.",
        [("S1", "S0"), ("S2", "S1"), ("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "herbert-below-teacher",
        "Table 2 (T1: test score)",
        "Every student stays below HerBERT on every task.",
        _over("T1", "S0", "S1", "S2", "S3", "S4"),
        HERBERT_TASKS,
    ),
    _fact(
        "herbert-half-layers-not-half-size",
        "section 3.2",
        "With half the layers, more than half of the parameters (%) remain: the embeddings are not halved.",
        "student_share",
        _SHARE,
        above(50),
    ),
    _fact(
        "herbert-share",
        "section 3.2",
        "HerBERT's student has 65 % of its parameters (within 1 point).",
        "student_share",
        _at_paper_size(_SHARE),
        about(65, 1),
    ),
    _fact(
        "herbert-size",
        "section 3.2",
        "HerBERT's student weighs 325.34 MB (10^6 bytes, within 1 %).",
        "student_size",
        _at_paper_size(megabytes("herbert", "S3")),
        about(325.34, 3.25),
    ),
    _fact(
        "herbert-tokens-teacher",
        "section 6",
        "The corpus has about 2 tokens per HerBERT parameter (1.5–2.5).",
        "tokens_per_teacher_parameter",
        _at_paper_size(tokens_per_parameter("herbert", "S3", "T1", _EPOCHS)),
        about(2, 0.5),
    ),
    _fact(
        "herbert-tokens-student",
        "section 6",
        "The corpus has about 3 tokens per student parameter (2.5–3.5).",
        "tokens_per_student_parameter",
        _at_paper_size(tokens_per_parameter("herbert", "S3", "S3", _EPOCHS)),
        about(3, 0.5),
    ),
    Claim(
        "herbert-short-training",
        "000, section 6",
        "S3 sees fewer tokens per parameter than the 20 recommended.",
        round(_EPOCHS * papers.fact("000", "corpus_tokens") / papers.fact("000", "student_parameters"), 1),
        tokens_per_parameter("herbert", "S3", "S3"),
        below(papers.fact("000", "recommended_tokens_per_parameter")),
    ),
]
