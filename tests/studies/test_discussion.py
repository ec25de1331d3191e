"""The discussion across studies: decided, undecided, level and reversed outcomes read right; what
did not run is left out."""

import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from lib.plan.files import read_scenarios
from lib.report.claims import COLUMNS, evaluate
from lib.studies import discussion
from lib.studies.compared import Compared, how_sure, overall, side
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
from tests.helpers.papers_claims import CLAIMS

MINE = HERBERT | {"T2": (91.5, 81.0, 95.0), "truncated": (82.0, 70.0, 75.0)}
LOSSES = ABLATED | {
    "equal_weights": lower(2),
    "temperature1": lower(0.05),
    "temperature4": lower(0.02),
    "temperature8": lower(1.5),
    "layers_to_top": lower(-1),
}
MAKE = {
    "herbert": (made_up.herbert, MINE),
    "transfer_set": (made_up.transfer_set, TRANSFER),
    "ablation": (made_up.ablation, LOSSES),
    "cascade": (made_up.cascade, CASCADE),
}
FOUND = SimpleNamespace(folder=Path("outputs/tiny"))
EMPTY = pd.DataFrame(columns=COLUMNS)


def results(study: str, change: dict | None = None, **how) -> pd.DataFrame:
    make, levels = MAKE[study]
    return make(levels | (change or {}), **({"noise": 0.05} | how))


def said(study: str, question: str, change: dict | None = None, **how) -> str:
    """The paragraph of one decision, from the results of one study."""
    for answer in discussion.decisions(results(study, change, **how), NO_EFFICIENCY):
        if answer.question.startswith(question):
            return discussion.paragraph(answer)
    return ""


DECIDED = [
    ("herbert", "Which initial", {}, "Copy layers from the teacher"),
    ("herbert", "Which initial", {"S1": (95, 95, 95)}, "Start from random weights"),
    ("ablation", "Which initial", {}, "Take layers up to the teacher's top"),
    (
        "ablation",
        "Which initial",
        {"layers_to_top": lower(2)},
        "Take every second layer from the lowest",
    ),
    ("herbert", "Which losses", {}, "Imitate the teacher; do not train on text alone"),
    (
        "herbert",
        "Which losses",
        {"S2": (95, 95, 95)},
        "Train on text alone: imitating the teacher is shown to harm",
    ),
    (
        "ablation",
        "Which losses",
        {},
        "Keep soft targets and cosine. Leaving out MLM costs next to nothing. Weigh the",
    ),
    (
        "ablation",
        "Which losses",
        {"without_mlm": lower(-3)},
        "Leave out MLM: the student is better without",
    ),
    ("ablation", "Which losses", {"equal_weights": lower(-2)}, "Weigh the losses alike"),
    ("ablation", "Which temp", {}, "Avoid T = 8. T = 1 and 4 come to the same as 2. Stay with 2."),
    ("ablation", "Which temp", {"temperature4": lower(-2)}, "Take T = 4."),
    (
        "transfer_set",
        "How much",
        {},
        "For GLUE a tenth is enough, a hundredth is not. For SQuAD F1 give all the text",
    ),
    (
        "transfer_set",
        "How much",
        {"corpus0.1pct": (72.5, (45, 56))},
        "For GLUE a hundredth is enough",
    ),
    (
        "transfer_set",
        "How much",
        {"corpus0.1pct": (75, (45, 56))},
        "For GLUE a hundredth did better",
    ),
    (
        "transfer_set",
        "Must it",
        {},
        "For SQuAD F1 real text is better than randomised and generated text.",
    ),
    (
        "transfer_set",
        "Must it",
        {"generated": (80, (27, 37))},
        "For GLUE real text is better than randomised text; real text is "
        "worse than generated text.",
    ),
    (
        "transfer_set",
        "Must it",
        {},
        "on SQuAD F1: generate text from its "
        "statistics rather than shuffle it. On GLUE: shuffle it",
    ),
    ("cascade", "One hop", {}, "Take one hop rather than the cascade"),
    (
        "cascade",
        "One hop",
        {"direct-6": (70, 60, 50, 50, 50, 40)},
        "Take the cascade rather than one hop",
    ),
    ("cascade", "One hop", {"truncated-6": (60, 50, 50, 50, 45, 40)}, "Do train the student"),
    ("cascade", "One hop", {"truncated-6": (90, 80, 80, 80, 75, 70)}, "the cut teacher did better"),
    ("herbert", "Train the teacher", {}, "Train the teacher on your text first"),
    (
        "herbert",
        "Train the teacher",
        {"S4": (60, 60, 60)},
        "Leave the teacher as it is: its student is shown to be better",
    ),
    (
        "cascade",
        "Many languages",
        {"direct-6": (81.5, 62, 60, 60, 52, 50)},
        "Expect the languages without fine-tuning data",
    ),
    (
        "cascade",
        "Many languages",
        {"direct-6": (60, 74, 69, 72, 66, 58)},
        "English loses more than the others",
    ),
    ("herbert", "How many", {}, "Half the layers cost wherever it was measured"),
    (
        "herbert",
        "How many",
        {"S3": (95, 95, 95)},
        "Take half the layers: where anything is shown, it is a gain",
    ),
    ("cascade", "How many", {}, "By the cascade even the step from 12 layers to 11 costs"),
]


@pytest.mark.parametrize("study, question, change, advice", DECIDED)
def test_decided_outcomes_and_their_reverse(study, question, change, advice):
    assert advice in said(study, question, change)


UNDECIDED = [
    (
        "herbert",
        "Which initial",
        "Whether to copy the teacher's layers, this run cannot tell; it costs nothing, so copy.",
    ),
    ("ablation", "Which initial", "Which of its layers are best, this run cannot tell."),
    ("herbert", "Which losses", "Whether imitating beats text alone, this run cannot tell"),
    (
        "ablation",
        "Which losses",
        "Whether leaving out soft targets or cosine or MLM costs, this run cannot tell.",
    ),
    ("ablation", "Which temp", "T = 1, 4 and 8 this run cannot tell from 2. Stay with 2."),
    ("transfer_set", "How much", "For GLUE and SQuAD F1 this run cannot tell how much is enough."),
    ("transfer_set", "Must it", "Whether to shuffle or to generate, this run cannot tell."),
    ("cascade", "One hop", "That training the student pays at all is not shown"),
    (
        "herbert",
        "Train the teacher",
        "This run cannot tell; leaving the teacher as it is costs nothing.",
    ),
    (
        "cascade",
        "Many languages",
        "Whether English is spared, this run cannot tell: test each language.",
    ),
    ("herbert", "How many", "No cost of half the layers is shown, nor that there is none"),
]


@pytest.mark.parametrize("study, question, advice", UNDECIDED)
@pytest.mark.parametrize("how", [{"noise": 150}, {"seeds": 1}], ids=["noise", "one seed"])
def test_undecided_outcomes(study, question, advice, how):
    text = said(study, question, **how)
    assert advice.lower() in text.lower()
    assert ("one seed" if "seeds" in how else "undecided") in text
    assert "*Undecided, from" in text or "noise" in how, (
        "of many noisy comparisons one may be decided by chance"
    )


def test_level_outcomes():
    level = {name: lower(0.1) for name in LOSSES if name not in ("teacher", "triple")}
    text = said("ablation", "Which losses", level)
    assert (
        "Leaving out soft targets or cosine or MLM costs next to nothing. How the losses are "
        "weighed hardly matters." in text
    )
    assert "*Level, from DistilBERT.*" in text and "undecided" not in text
    assert "T = 1, 4 and 8 come to the same as 2." in said("ablation", "Which temp", level)
    assert "next to nothing is lost" in said("herbert", "How many", {"S3": (90.8, 80.5, 94.4)})


def test_studies_that_disagree_are_both_heard():
    both = pd.concat([results("herbert"), results("ablation", {"random_init": lower(-3)})])
    answer = next(
        a for a in discussion.decisions(both, NO_EFFICIENCY) if a.topic == "the initial weights"
    )
    text = discussion.paragraph(answer)
    assert (
        "On HerBERT's tasks: copy layers from the teacher" in text
        and "On GLUE: start from random weights" in text
    )
    assert "*Decided, from HerBERT and DistilBERT.*" in text
    several = pd.concat(
        [
            results("herbert", {"S3": (90.8, 80.5, 94.4)}),
            results("cascade", {"direct-6": (76, 70, 65, 66, 60, 55)}),
        ]
    )
    layers = discussion.paragraph(discussion.decisions(several, NO_EFFICIENCY)[0])
    assert (
        "Half the layers cost on XNLI; elsewhere no cost is shown" in layers
        and "*Decided in part" in layers
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_subset_of_the_studies_gives_a_discussion_of_what_ran(count):
    for studies in combinations(MAKE, count):
        scores = pd.concat([results(study) for study in studies])
        text = discussion.answers(FOUND, scores, NO_EFFICIENCY, EMPTY)
        assert not re.search(r"\bnan\b|\binf\b|None|<|\{|\}|\.\.| {2}(?!\n)", text)
        named = {
            study
            for study in MAKE
            if re.search(rf"(?i)from [^*]*{read_scenarios(study).name}[^*]*\*", text)
        }
        assert named == set(studies)
        assert text.count("\n\n") == len(discussion.decisions(scores, NO_EFFICIENCY)) + 1
        assert ("Train the teacher" in text) == ("herbert" in studies)
        assert ("Which temperature?" in text) == ("ablation" in studies)


def test_the_brief_has_every_advice_and_how_sure_it_is_without_numbers():
    scores = pd.concat([results(study) for study in MAKE], ignore_index=True)
    brief = discussion.in_brief(scores, NO_EFFICIENCY)
    assert brief.count("\n- **") == len(discussion.decisions(scores, NO_EFFICIENCY)) >= 8
    assert "*Decided.*" in brief and "[+" not in brief and "](#If-you-distill-tomorrow)" in brief
    assert discussion.in_brief(NO_RESULTS, NO_EFFICIENCY) == ""


def test_nothing_measured():
    assert discussion.answers(FOUND, NO_RESULTS, NO_EFFICIENCY, EMPTY) == (
        "No decision of this kind was measured by the studies that ran."
    )


def test_glue_of_two_studies_counts_once_for_depth():
    both = pd.concat([results("transfer_set"), results("ablation")])
    layers = discussion.decisions(both, NO_EFFICIENCY)[0]
    assert [c.name for c in layers.comparisons] == ["GLUE", "SQuAD F1"]
    assert [
        c.name for c in discussion.decisions(results("transfer_set"), NO_EFFICIENCY)[0].comparisons
    ] == ["GLUE", "SQuAD F1"]


def test_costs_are_those_of_efficiency_csv():
    models = made_up.herbert_models().assign(latency_s=[0.02, 0.01], train_seconds=[10.0, 40.0])
    extra = models.iloc[[1]].assign(scenario="S2", train_seconds=20.0)
    given = discussion.decisions(results("herbert"), pd.concat([models, extra]))
    text = " ".join(answer.found for answer in given)
    assert "It has 65 % of the parameters and is 2.0 times as fast." in text
    assert "for 2.0 times the training time" in text


def test_the_numbers_are_the_paired_differences():
    text = said("herbert", "Train the teacher")
    assert re.search(r"\+0\.6 \[\+0\.[56], \+0\.[67]\] on HerBERT's tasks \(S4 − S3\)", text)


def test_the_end_counts_the_comparisons_and_says_what_an_interval_is_worth():
    scores = results("herbert")
    text = discussion.answers(FOUND, scores, NO_EFFICIENCY, evaluate(scores, NO_EFFICIENCY, CLAIMS))
    assert re.search(r"Of the \d+ comparisons behind this advice, [1-9]\d* are decided", text)
    assert (
        "pretrained once" in text
        and "toy languages" in text
        and re.search(r"settles, \d+ hold", text)
    )
    real = discussion.answers(
        SimpleNamespace(folder=Path("outputs/paper")), scores, NO_EFFICIENCY, EMPTY
    )
    assert "toy languages" not in real and "settles" not in real


def test_sides():
    def compared(*values):
        return Compared("herbert", "x", "a − b", pd.Series(values, dtype=float))

    up, down, level, wide = (
        compared(2, 2.1, 2.2),
        compared(-2, -2.1, -2.2),
        compared(-0.1, 0, 0.1),
        compared(-9, 0, 9),
    )
    small = compared(0.3, 0.4, 0.5)
    assert [
        side(c.difference) for c in (up, down, level, small, wide, compared(1), compared(1, 1, 1))
    ] == ["better", "worse", "level", "level", "open", "open", "open"]
    assert [
        overall(cs) for cs in ([up, wide], [down, level], [up, down], [level], [level, wide])
    ] == ["better", "worse", "split", "level", "open"]
    assert [how_sure(cs) for cs in ([up, down], [up, wide], [level, level], [wide, level])] == [
        "decided",
        "decided in part",
        "level",
        "undecided",
    ]
