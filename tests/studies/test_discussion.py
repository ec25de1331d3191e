"""The advice across studies, on made-up results: decided, level, open and split comparisons, and
any subset of the studies."""

import re
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import pandas as pd
import pytest

from lib.plan.schema import Question
from lib.report.section import Analysis
from lib.studies import ablation, decisions, discussion, registry
from lib.studies.compared import Comparison, Score, certainty, verdict
from lib.studies.transfer_set import COMPOSITIONS, SHARES
from tests.helpers import made_up
from tests.helpers.made_up import (
    ABLATED,
    CASCADE,
    HERBERT,
    NO_EFFICIENCY,
    NO_RESULTS,
    TRANSFER,
    lower,
)

LEVELS = {
    "herbert": HERBERT | {"T2": (91.5, 81.0, 95.0), "truncated": (82.0, 70.0, 75.0)},
    "transfer_set": TRANSFER,
    "ablation": ABLATED
    | {
        "equal_weights": lower(2),
        "temperature1": lower(0.05),
        "temperature4": lower(0.02),
        "temperature8": lower(1.5),
        "layers_to_top": lower(-1),
    },
    "cascade": CASCADE,
}


def results(study: str, change: dict | None = None, **options) -> pd.DataFrame:
    make = getattr(made_up, study)
    return make(LEVELS[study] | (change or {}), **({"noise": 0.05} | options))


def analysis(scores, efficiency=NO_EFFICIENCY, verdicts=(), is_toy=True, **studies) -> Analysis:
    """`studies`: declarations beside those of the papers."""
    return Analysis(
        results=SimpleNamespace(is_toy=is_toy),
        studies=registry.declared(set(scores["study"]) - set(studies)) | studies,
        claims={},
        scores=scores,
        final=scores,
        efficiency=efficiency,
        verdicts=pd.DataFrame({"verdict": list(verdicts), "about": "results"}),
    )


def in_full(run: Analysis) -> str:
    return discussion.in_full(decisions.answers(run), run)


def in_brief(run: Analysis) -> str:
    return discussion.in_brief(decisions.answers(run))


def paragraph(scores: pd.DataFrame, question: str, **options) -> str:
    """The paragraph that answers one question; "" if there is none."""
    text = in_full(analysis(scores, **options))
    return next((p for p in text.split("\n\n") if p.startswith(f"**{question}")), "")


DECIDED = [
    (
        "herbert",
        "Which initial",
        {},
        "Prefer layers copied from the teacher to random weights.",
    ),
    (
        "herbert",
        "Which initial",
        {"S1": (95, 95, 95)},
        "Prefer random weights to layers copied from the teacher.",
    ),
    (
        "ablation",
        "Which initial",
        {},
        "Prefer layers up to the top to every second layer from the lowest.",
    ),
    (
        "ablation",
        "Which initial",
        {"layers_to_top": lower(2)},
        "Prefer every second layer from the lowest to layers up to the top.",
    ),
    ("herbert", "Which losses", {}, "Prefer imitating the teacher to training on text alone."),
    (
        "herbert",
        "Which losses",
        {"S2": (95, 95, 95)},
        "Prefer training on text alone to imitating the teacher.",
    ),
    (
        "ablation",
        "Which losses",
        {},
        "Keep soft targets and cosine. Next to nothing is gained from MLM. Prefer loss weights of "
        "5 / 2 / 1 to equal weights.",
    ),
    (
        "ablation",
        "Which losses",
        {"without_mlm": lower(-3)},
        "Leave out MLM: the student does better without.",
    ),
    (
        "ablation",
        "Which losses",
        {"equal_weights": lower(-2)},
        "Prefer equal weights to loss weights of 5 / 2 / 1.",
    ),
    (
        "ablation",
        "Which temp",
        {},
        "Worse than T = 2: T = 8. Level with T = 2: T = 1 and T = 4. Stay with T = 2.",
    ),
    ("ablation", "Which temp", {"temperature4": lower(-2)}, "Better than T = 2: T = 4."),
    (
        "transfer_set",
        "How much",
        {},
        "On GLUE prefer the largest sample to a hundredth of it. On GLUE a tenth of it and the "
        "largest sample do equally well. On SQuAD F1 prefer the largest sample to a tenth of it "
        "and a hundredth of it.",
    ),
    (
        "transfer_set",
        "How much",
        {"corpus0.1pct": (75, (45, 56))},
        "On GLUE prefer a hundredth of it to the largest sample.",
    ),
    (
        "transfer_set",
        "Must it",
        {},
        "On SQuAD F1 prefer real text to randomised text and generated text.",
    ),
    (
        "transfer_set",
        "Must it",
        {"generated": (80, (27, 37))},
        "On GLUE prefer real text to randomised text. On GLUE prefer generated text to real text.",
    ),
    (
        "transfer_set",
        "Must it",
        {},
        "On SQuAD F1 prefer generated text to randomised text; on GLUE prefer randomised text to "
        "generated text.",
    ),
    ("cascade", "One hop", {}, "Prefer one hop to the cascade."),
    (
        "cascade",
        "One hop",
        {"direct-6": (70, 60, 50, 50, 50, 40)},
        "Prefer the cascade to one hop.",
    ),
    (
        "cascade",
        "Distill at all",
        {"truncated-6": (60, 50, 50, 50, 45, 40)},
        "Prefer the trained student to the truncated teacher.",
    ),
    (
        "cascade",
        "Distill at all",
        {"truncated-6": (90, 80, 80, 80, 75, 70)},
        "Prefer the truncated teacher to the trained student.",
    ),
    (
        "cascade",
        "Distill at all",
        {},
        "On XNLI (direct-6 − truncated-6) prefer the trained student to the truncated teacher; on "
        "XNLI (cascade-6 − truncated-6) the trained student and the truncated teacher do equally "
        "well; truncating costs nothing",
    ),
    ("herbert", "Train the teacher", {}, "trained further and students of the original do equally"),
    (
        "herbert",
        "Train the teacher",
        {"S4": (95, 95, 95)},
        "Prefer students of a teacher trained further to students of the original.",
    ),
    ("herbert", "Train the teacher", {"S4": (60, 60, 60)}, "Prefer students of the original to"),
    (
        "cascade",
        "Many languages",
        {"direct-6": (81.5, 62, 60, 60, 52, 50)},
        "Languages without fine-tuning data lose more than English. Test each language.",
    ),
    (
        "cascade",
        "Many languages",
        {"direct-6": (60, 74, 69, 72, 66, 58)},
        "English loses more than the others",
    ),
    ("herbert", "How many", {}, "Half of the layers lose accuracy."),
    ("herbert", "How many", {"S3": (95, 95, 95)}, "Half of the layers do better than all."),
    (
        "cascade",
        "How many",
        {},
        "In the cascade 11, 10, 9, 8 and 7 layers lose accuracy.",
    ),
]


@pytest.mark.parametrize("study, question, change, advice", DECIDED)
def test_decided_comparisons_and_their_reverse(study, question, change, advice):
    assert advice in paragraph(results(study, change), question)


OPEN = [
    (
        "herbert",
        "Which initial",
        "Layers copied from the teacher and random weights cannot be told apart; copying costs "
        "nothing.",
    ),
    ("herbert", "Which losses", "cannot be told apart; text alone is cheaper."),
    ("ablation", "Which losses", "cannot tell what is gained from soft targets, cosine and MLM."),
    ("ablation", "Which temp", "Not told apart from T = 2: T = 1, T = 4 and T = 8. Stay with"),
    (
        "transfer_set",
        "How much",
        "the largest sample cannot be told apart from a tenth of it and a hundredth of it.",
    ),
    ("transfer_set", "Must it", "Generated text and randomised text cannot be told apart."),
    ("cascade", "Distill at all", "so fine-tune that first and compare."),
    ("herbert", "Train the teacher", "leaving the teacher as it is costs nothing."),
    ("cascade", "Many languages", "This run cannot tell whether English loses less"),
    ("herbert", "How many", "cannot tell whether half of the layers lose accuracy; try half on"),
]


@pytest.mark.parametrize("study, question, advice", OPEN)
@pytest.mark.parametrize("options", [{"noise": 150}, {"seeds": 1}], ids=["noise", "one seed"])
def test_open_comparisons(study, question, advice, options):
    text = paragraph(results(study, **options), question)
    assert advice in text
    assert ("one run" if "seeds" in options else "undecided") in text
    # of many noisy comparisons one may be decided by chance
    assert "*Undecided (" in text or "noise" in options


def test_level_comparisons():
    level = {name: lower(0.1) for name in LEVELS["ablation"] if name not in ("teacher", "triple")}
    text = paragraph(results("ablation", level), "Which losses")
    assert "Next to nothing is gained from soft targets, cosine and MLM." in text
    assert "Loss weights of 5 / 2 / 1 and equal weights do equally well." in text
    assert "*Level (DistilBERT).*" in text and "undecided" not in text
    assert "T = 1, T = 4 and T = 8" in paragraph(results("ablation", level), "Which temp")
    text = paragraph(results("herbert", {"S3": (90.8, 80.5, 94.4)}), "How many")
    assert "Half of the layers lose next to nothing; try half on your own task." in text


def test_studies_that_disagree_both_count():
    both = pd.concat([results("herbert"), results("ablation", {"random_init": lower(-3)})])
    text = paragraph(both, "Which initial")
    assert (
        "On HerBERT's tasks prefer layers copied from the teacher to random weights; on GLUE "
        "prefer random weights to layers copied from the teacher." in text
    )
    assert "*Decided (HerBERT, DistilBERT).*" in text
    herbert = results("herbert", {"S3": (90.8, 80.5, 94.4)})
    cascade = results("cascade", {"direct-6": (76, 70, 65, 66, 60, 55)})
    text = paragraph(pd.concat([herbert, cascade]), "How many")
    assert (
        "On XNLI half of the layers lose accuracy; on HerBERT's tasks half of the layers lose next "
        "to nothing; try half on your own task." in text
    )
    assert "*Decided in part (HerBERT, CAMeMBERT).*" in text


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_subset_of_the_studies(count):
    for studies in combinations(LEVELS, count):
        run = analysis(pd.concat([results(study) for study in studies]))
        text = in_full(run)
        assert not re.search(r"\bnan\b|\binf\b|None|<|\{|\}|\.\.| {2}(?!\n)", text)
        sources = " ".join(re.findall(r"\((.*)\)\.\*", text))
        named = {
            name for name, study in registry.declared(LEVELS).items() if study.short in sources
        }
        assert named == set(studies)
        assert text.count("\n\n") == len(decisions.answers(run)) + 1
        assert ("Train the teacher" in text) == ("herbert" in studies)
        assert ("Which temperature?" in text) == ("ablation" in studies)


def test_in_brief_has_every_advice_and_its_certainty_without_numbers():
    run = analysis(pd.concat([results(study) for study in LEVELS], ignore_index=True))
    brief = in_brief(run)
    assert brief.count("\n- **") == len(decisions.answers(run)) == 10
    assert "*Decided.*" in brief and "[+" not in brief and "](#If-you-distill-tomorrow)" in brief


@pytest.mark.parametrize("studies", [[], ["herbert", "cascade"]])
def test_nothing_measured(studies):
    run = analysis(NO_RESULTS, **registry.declared(studies))
    assert in_brief(run) == ""
    assert discussion.shown(decisions.answers(run), run) == []


def test_a_study_of_ones_own_answers_its_questions():
    mine = results("herbert").assign(study="mine")
    declared = registry.declared(["herbert"])["herbert"]
    own = replace(
        declared,
        name="mine",
        short="Mine",
        title="My losses",
        questions=[
            Question(title="One", better="S3", worse="S2"),
            Question(title="Two?", better="S1", worse="S2"),
        ],
        scored=declared.scored,
        labels={"S3": "with *imitation*", "S2": "MLM", "S1": "random"},
    )
    text = in_full(analysis(mine, mine=own))
    assert r"**One.** Prefer *with \*imitation\** to *MLM*.  " in text
    assert (
        "**Two?** Prefer *MLM* to *random*.  \n*Decided (Mine).* *random* against *MLM*: " in text
    )
    unclear = in_full(analysis(mine, mine=replace(own, labels=dict.fromkeys(own.labels, "mine"))))
    assert "**One.** Prefer *S3* to *S2*.  \n*Decided (Mine).* *S3* against *S2*: " in unclear
    assert "My losses" not in text, "of one study alone all is about that study"
    assert "How many layers" not in text
    assert in_brief(analysis(mine, mine=replace(own, questions=[]))) == ""


def test_every_scenario_that_code_names_is_declared(monkeypatch):
    """Advice on one that was renamed in its scenarios.yaml would silently be left out."""
    named = [(score.study, student) for score, student in decisions.HALVES]

    def compare(_, pairs):
        named.extend((score.study, name) for score, *names in pairs for name in names)
        return []

    monkeypatch.setattr(decisions, "compare", compare)
    decisions.answers(analysis(pd.concat([results(study) for study in LEVELS])))
    assert {study for study, _ in named} == decisions.DECIDED == set(LEVELS)
    for names in (ablation.LEFT_OUT, ablation.LEFT_OUT_AT_RANDOM, ablation.TEMPERATURES):
        named += [("ablation", name) for name in names]
    named += [("ablation", name) for name in ablation.PAPER_MODELS.values() if name]
    named += [("transfer_set", name) for name in (*SHARES, *COMPOSITIONS)]
    declared = registry.declared(LEVELS)
    for study, name in named:
        scenario, _ = declared[study].chain_of(name.format(half=6))
        assert scenario in declared[study].labels, (study, name)


def test_glue_of_two_studies_counts_once_for_the_number_of_layers():
    for scores in (
        results("transfer_set"),
        pd.concat([results("transfer_set"), results("ablation")]),
    ):
        answer = decisions.answers(analysis(scores))["How many layers?"]
        assert sorted(c.score.title for c in answer.comparisons) == ["GLUE", "SQuAD F1"]


def test_costs_are_those_of_efficiency_csv():
    models = made_up.herbert_models().assign(latency_s=[0.02, 0.01], train_seconds=[10.0, 40.0])
    extra = models.iloc[[1]].assign(scenario="S2", train_seconds=20.0)
    text = in_full(analysis(results("herbert"), pd.concat([models, extra])))
    assert "It has 65 % of the parameters and is 2.0 times as fast." in text
    assert "Imitation took 2.0 times the training time." in text


def test_the_numbers_are_the_paired_differences():
    text = paragraph(results("herbert"), "Train the teacher")
    assert re.search(r"\+0\.6 \[\+0\.[56], \+0\.[67]\] on HerBERT's tasks \(S4 − S3\)", text)


def test_how_far_to_trust_the_advice():
    scores = results("herbert")
    verdicts = ["holds", "holds", "contradicted", "unresolved"]
    text = in_full(analysis(scores, verdicts=verdicts))
    assert re.search(r"Of the \d+ comparisons behind this advice, [1-9]\d* are decided", text)
    assert "Of the 3 claims that this run settles, 2 hold." in text
    assert "trained once" in text and "toy languages" in text
    text = in_full(analysis(scores, is_toy=False))
    assert "toy languages" not in text and "settles" not in text


def compared(*values) -> Comparison:
    return Comparison(Score("herbert", "x"), "a − b", pd.Series(values, dtype=float))


BETTER, WORSE = compared(2, 2.1, 2.2), compared(-2, -2.1, -2.2)
LEVEL, OPEN_ONE = compared(-0.1, 0, 0.1), compared(-9, 0, 9)


def test_sides():
    assert [c.side for c in (BETTER, WORSE, LEVEL, OPEN_ONE)] == [
        "better",
        "worse",
        "level",
        "open",
    ]
    assert compared(0.3, 0.4, 0.5).side == "level"
    assert compared(1).side == compared(1, 1, 1).side == "open"


@pytest.mark.parametrize(
    "comparisons, expected",
    [
        ([BETTER, WORSE], "decided"),
        ([BETTER, OPEN_ONE], "decided in part"),
        ([BETTER, LEVEL], "decided in part"),
        ([LEVEL, LEVEL], "level"),
        ([OPEN_ONE, LEVEL], "undecided"),
    ],
)
def test_certainty(comparisons, expected):
    assert certainty(comparisons) == expected


def test_verdict():
    clauses = {"better": "take a", "worse": "take b", "level": "either", "open": "unknown"}
    assert verdict([BETTER, BETTER], clauses, "a is free") == "Take a."
    assert verdict([LEVEL], clauses, "a is free") == "Either; a is free."
    assert (
        verdict([OPEN_ONE, WORSE], clauses, "a is free")
        == "On x (a − b) take b; on x (a − b) unknown; a is free."
    )
