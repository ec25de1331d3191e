"""The discussion across studies: what someone who distills tomorrow should do, computed from this
run's results.

>>> answers(found, scores, efficiency, ledger)      # Markdown, no heading: an opening, a paragraph a decision, an end
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.plan.files import read_scenarios
from lib.report.results import Results
from lib.report.wording import number_of
from lib.studies.compared import how_sure, listed, run, side
from lib.studies.decisions import (
    Answer,
    amount,
    kind_of_text,
    layers,
    losses,
    spoken,
    teacher,
    temperature,
    way,
    weights,
)

DECISIONS = (layers, weights, losses, temperature, amount, kind_of_text, way, teacher, spoken)
"""In the order in which they are faced. Each gives an Answer, or None where nothing was measured
that bears on it."""
IN_A_SENTENCE = {"Transfer sets": "transfer sets"}
OPENING = (
    "Differences are in points, paired by fine-tuning seed, with 95 % intervals in brackets. A "
    "difference is *level* when its "
    "whole interval is within one point of zero, too little to choose by; else it is *decided* "
    "when the interval lies on one "
    "side of zero."
)
ONCE = (
    "Every model was pretrained once: the intervals say how far another fine-tuning of the same "
    "models would move, not "
    "another pretraining."
)
TOYS = (
    "The text is that of toy languages: take the directions as something to check on real "
    "text, and not the sizes."
)


def answers(
    found: Results, scores: pd.DataFrame, efficiency: pd.DataFrame, ledger: pd.DataFrame
) -> str:
    """The section's Markdown, from any subset of the studies; a decision on which nothing was
    measured is left out.

    `scores` as results.csv (the last epoch counts), `efficiency` as the analysis has it, `ledger`
    as claims.csv.
    """
    given = decisions(scores, efficiency)
    if not given:
        return "No decision of this kind was measured by the studies that ran."
    paragraphs = [f"{OPENING} {in_short(given)}", *[paragraph(answer) for answer in given]]
    return "\n\n".join([*paragraphs, _end(found, given, ledger)])


def decisions(scores: pd.DataFrame, efficiency: pd.DataFrame) -> list[Answer]:
    """The answers that these results give."""
    measured = run(scores[scores["protocol"] == "final"], efficiency)
    return [answer for decide in DECISIONS if (answer := decide(measured))]


def paragraph(answer: Answer) -> str:
    """Question, what to do, how sure that is and from which studies, and what they show."""
    names = [read_scenarios(c.study).name for c in answer.comparisons]
    studies = listed(dict.fromkeys(IN_A_SENTENCE.get(name, name) for name in names))
    return (
        f"**{answer.question}** {answer.follows}  \n*{_sure(answer)}, from {studies}.* "
        f"{answer.found}"
    )


def in_brief(scores: pd.DataFrame, efficiency: pd.DataFrame) -> str:
    """Every question with what to do and how sure that is, without the numbers: a Markdown list for
    the report's opening."""
    lines = [f"- **{a.question}** {a.follows} *{_sure(a)}.*" for a in decisions(scores, efficiency)]
    head = (
        "**What was found, in brief** (the numbers stand under [If you distill "
        "tomorrow](#If-you-distill-tomorrow))."
    )
    return "\n".join([head, "", *lines]) if lines else ""


def _sure(answer: Answer) -> str:
    sure = how_sure(answer.comparisons)
    return sure[0].upper() + sure[1:]


def in_short(given: Sequence[Answer]) -> str:
    """Which decisions this run decides, and which it does not."""
    by: dict[str, list[str]] = {}
    for answer in given:
        by.setdefault(how_sure(answer.comparisons), []).append(answer.topic)
    words: Mapping[str, str] = {
        "decided": "Decided: {}.",
        "decided in part": "Decided in part: {}.",
        "level": "Level, so that either will do: {}.",
        "undecided": "Undecided: {}.",
    }
    return " ".join(text.format(listed(by[how])) for how, text in words.items() if how in by)


def _end(found: Results, given: Sequence[Answer], ledger: pd.DataFrame) -> str:
    """How far to trust all this: chance among many comparisons, one pretraining, the papers'
    claims, toy languages."""
    sides = [side(c.difference) for answer in given for c in answer.comparisons]
    clear = sum(one in ("better", "worse") for one in sides)
    are = "is" if clear == 1 else "are"
    told = [
        f"**How far to trust this.** Of the {number_of(len(sides), 'comparison')} behind this "
        f"advice, {clear} {are} decided; if "
        f"nothing made any difference, about {0.05 * len(sides):.1f} would be, by chance.",
        ONCE,
    ]
    settled = ledger[ledger["verdict"].isin(["holds", "contradicted"])]
    if len(settled):
        holds = int((settled["verdict"] == "holds").sum())
        told.append(
            f"Of the {len(settled)} claims of the sources that this run settles, {holds} hold."
        )
    if found.folder.name in ("smoke", "tiny"):
        told.append(TOYS)
    return " ".join(told)
