"""The claims of 000, Distillation of HerBERT, one entry each. Machinery and verdict rule stand in `lib.claims`.

Not in the ledger, for want of anything to measure them by: the 20 hours on one Titan V (000, section 4), which only that card
could repeat; the size of the authors' own piece of CC-100 (4.9 million lines, 218 million tokens, section 2), beside the tokens
a parameter of section 6; that HerBERT is the best of Polish models (section 1). What section 2 says of DistilBERT is in
`lib.ledger_ablation`.
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
    counted,
    efficiency_value,
    megabytes,
    ratio,
    smallest_gain,
    tokens_per_parameter,
)

IN, OUT, NER = HERBERT_TASKS = ["polemo2-in", "polemo2-out", "nkjp-ner"]
_EPOCHS = papers.fact("000", "pretraining_epochs")
_SHARE = ratio("herbert", "S3", "T1", "parameters", scale=100)
_OF_PARAMETERS = "% of parameters"


def _herbert(
    id: str, place: str, claim: str, pairs: Sequence[Pair], on: Sequence[str], expected: tuple[float, float] = above(0)
) -> Claim:
    """A claim on scores: the smallest gain over `pairs` and `on`, ours and the report's (Table 2)."""
    theirs = papers.table("000", "results")
    theirs[MEAN] = theirs[HERBERT_TASKS].mean(axis=1)
    paper_value = min(theirs.loc[better, task] - theirs.loc[worse, task] for better, worse in pairs for task in on)
    evidence = smallest_gain("herbert", pairs, HERBERT_TASKS, on)
    return Claim(f"herbert-{id}", f"000, {place}", claim, round(paper_value, 2), evidence, expected)


def _over(better: str, *others: str) -> list[Pair]:
    return [(better, other) for other in others]


def _sized(
    id: str, place: str, claim: str, fact: str, evidence: Callable, tolerance: float, unit: str, scale: float = 1
) -> Claim:
    """A claim on what HerBERT's own size makes it: `scale` times a printed fact, within the tolerance; else left open."""
    printed = scale * papers.fact("000", fact)
    measure = at_size(evidence, "herbert", "T1", papers.fact("000", "teacher_parameters"))
    expected, asks = about(printed, tolerance), "a teacher of HerBERT's size"
    return Claim(f"herbert-{id}", f"000, {place}", claim, printed, measure, expected, unit, asks)


def _millions(scenario: str) -> Callable:
    """Evidence: the model's parameters in millions."""
    return lambda results, efficiency: counted(efficiency_value(efficiency, "herbert", scenario, "parameters") / 1e6)


HERBERT = [
    _herbert(
        "s4-best-ner",
        "section 5",
        "The student of the teacher that was trained further (S4) is the best student on kinds of names (NKJP-NER).",
        _over("S4", "S0", "S1", "S2", "S3"),
        [NER],
    ),
    _herbert(
        "s4-best-in",
        "section 5",
        "S4 is the best student on opinions in reviews (PolEmo2.0-IN).",
        _over("S4", "S0", "S1", "S2", "S3"),
        [IN],
    ),
    _herbert(
        "s3-second-out",
        "section 5; T1 on test",
        "On reviews of another domain (PolEmo2.0-OUT) the student of the teacher as it was (S3) is second only to the teacher.",
        [*_over("S3", "S0", "S1", "S2", "S4"), ("T1", "S3")],
        [OUT],
    ),
    _herbert(
        "s3-best-out",
        "Table 2",
        "S3 is the best student on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2", "S4"),
        [OUT],
    ),
    _herbert(
        "distilled-best-out",
        "Table 2",
        "Both distilled students (S3, S4) beat the three others (S0, S1, S2) on PolEmo2.0-OUT.",
        _over("S3", "S0", "S1", "S2") + _over("S4", "S0", "S1", "S2"),
        [OUT],
    ),
    _herbert(
        "s0-worst",
        "section 5",
        "A student of random weights, never pretrained (S0), is the worst of all on every task.",
        [(name, "S0") for name in ("S1", "S2", "S3", "S4")],
        HERBERT_TASKS,
    ),
    _herbert(
        "s1-over-s0",
        "Table 2",
        "Pretraining random weights on text helps on every task (S1 over S0).",
        [("S1", "S0")],
        HERBERT_TASKS,
    ),
    _herbert(
        "mlm-improves",
        "section 5",
        "Pretraining on text by guessing masked words (MLM) improves the mean of the tasks (S1 over S0).",
        [("S1", "S0")],
        [MEAN],
    ),
    _herbert(
        "s2-over-s1",
        "Table 2",
        "Starting from the teacher's weights helps on every task (S2 over S1).",
        [("S2", "S1")],
        HERBERT_TASKS,
    ),
    _herbert(
        "distillation-improves",
        "section 5",
        "Imitating the teacher (the distillation loss) improves the mean of the tasks (S3 over S2).",
        [("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "s3-over-s2",
        "Table 2",
        "Imitating the teacher helps on every task (S3 over S2).",
        [("S3", "S2")],
        HERBERT_TASKS,
    ),
    _herbert(
        "s3-s2-slight",
        "section 5",
        "With and without imitation differ only slightly: under 2 points in the mean of the tasks (S3, S2).",
        [("S3", "S2")],
        [MEAN],
        about(0, 2),
    ),
    Claim(
        "herbert-imitation",
        "002, slide 2; 004, section 2.1",
        "A small model trained to imitate the large one is better than one trained on text alone (S3 over S2, mean).",
        float("nan"),
        smallest_gain("herbert", [("S3", "S2")], HERBERT_TASKS, [MEAN]),
        above(0),
    ),
    _herbert(
        "s4-over-s3",
        "section 5",
        "A teacher trained further on the student's text gives a better student (S4 over S3, mean).",
        [("S4", "S3")],
        [MEAN],
    ),
    _herbert(
        "s4-not-everywhere",
        "section 5",
        "The gain of the further-trained teacher's student is absent on at least one task (S4 over S3).",
        [("S4", "S3")],
        HERBERT_TASKS,
        below(0),
    ),
    _herbert(
        "order",
        "Table 2",
        "The mean of the tasks rises from each student to the next: S0 < S1 < S2 < S3.",
        [("S1", "S0"), ("S2", "S1"), ("S3", "S2")],
        [MEAN],
    ),
    _herbert(
        "below-teacher",
        "Table 2; T1 on test",
        "Every student stays below its teacher on every task.",
        _over("T1", "S0", "S1", "S2", "S3", "S4"),
        HERBERT_TASKS,
    ),
    Claim(
        "herbert-half-layers-not-half-size",
        "000, section 3.2",
        "With half of the layers, more than half of the parameters remain: the embeddings are not halved.",
        papers.fact("000", "student_share"),
        _SHARE,
        above(50),
        _OF_PARAMETERS,
    ),
    _sized(
        "share",
        "section 3.2",
        "HerBERT's student has 65 % of its parameters (within 1 point).",
        "student_share",
        _SHARE,
        1,
        _OF_PARAMETERS,
    ),
    _sized(
        "teacher-parameters",
        "section 3.1",
        "HerBERT has 124 million parameters (within 1 million).",
        "teacher_parameters",
        _millions("T1"),
        1,
        "million parameters",
        scale=1e-6,
    ),
    _sized(
        "student-parameters",
        "section 3.2",
        "HerBERT's student has 81 million parameters (within 1 million).",
        "student_parameters",
        _millions("S3"),
        1,
        "million parameters",
        scale=1e-6,
    ),
    _sized(
        "teacher-size",
        "section 3.1",
        "HerBERT weighs 475 MB (read as MiB, within 1 %).",
        "teacher_size",
        lambda results, efficiency: counted(efficiency_value(efficiency, "herbert", "T1", "size_mib")),
        0.01 * papers.fact("000", "teacher_size"),
        "MiB",
    ),
    _sized(
        "size",
        "section 3.2",
        "HerBERT's student weighs 325.34 MB (10^6 bytes, within 1 %).",
        "student_size",
        megabytes("herbert", "S3"),
        0.01 * papers.fact("000", "student_size"),
        "MB",
    ),
    _sized(
        "tokens-teacher",
        "section 6",
        "The corpus has about 2 tokens for each of HerBERT's parameters (within 0.5).",
        "tokens_per_teacher_parameter",
        tokens_per_parameter("herbert", "S3", "T1", _EPOCHS),
        0.5,
        "tokens a parameter",
    ),
    _sized(
        "tokens-student",
        "section 6",
        "The corpus has about 3 tokens for each of the student's parameters (within 0.5).",
        "tokens_per_student_parameter",
        tokens_per_parameter("herbert", "S3", "S3", _EPOCHS),
        0.5,
        "tokens a parameter",
    ),
    Claim(
        "herbert-short-training",
        "000, section 6",
        "Training is short: a student (S3) sees fewer tokens a parameter than the 20 that are recommended.",
        round(_EPOCHS * papers.fact("000", "corpus_tokens") / papers.fact("000", "student_parameters"), 1),
        tokens_per_parameter("herbert", "S3", "S3"),
        below(papers.fact("000", "recommended_tokens_per_parameter")),
        "tokens a parameter",
    ),
]
