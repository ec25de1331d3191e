"""What someone who distills tomorrow should do, as this run's results advise: `in_full` with the
numbers, `in_brief` without. `answers` are those of `lib.studies.decisions.answers`."""

from collections.abc import Collection, Mapping

from lib.report.page import show
from lib.report.section import Analysis
from lib.report.wording import MATTERING, number_of
from lib.studies.compared import Comparison, certainty
from lib.studies.decisions import Part

OPENING = (
    "Differences are in points, paired by run, with 95 % intervals in brackets. A "
    f"difference is *level* if its whole interval is within {MATTERING} of zero, too little to "
    "choose by. Otherwise it is *decided* if the interval lies on one side of zero, and "
    "*undecided* if not. They are not corrected for their number: the end says how many chance "
    "would decide."
)
ONE_PRETRAINING = (
    "Every student was trained once: the intervals say how far another fine-tuning of the same "
    "models would move, not another training."
)
TOY_TEXT = (
    "The text is in toy languages: check the directions on real text, and do not expect "
    "differences of the same size."
)


def shown(answers: Mapping[str, Part], analysis: Analysis) -> list:
    """What the report shows of it; nothing where nothing was measured."""
    return [show.prose(in_full(answers, analysis))] if answers else []


def in_full(answers: Mapping[str, Part], analysis: Analysis) -> str:
    """Markdown without a heading: how to read it, a paragraph for each decision that was measured,
    and how far to trust them."""
    paragraphs = [OPENING]
    for question, answer in answers.items():
        names = [analysis.studies[c.score.study].short for c in answer.comparisons]
        studies = ", ".join(dict.fromkeys(names))
        paragraphs.append(
            f"**{question}** {answer.advice}  \n"
            f"*{certainty(answer.comparisons).capitalize()} ({studies}).* {answer.evidence}"
        )
    comparisons = [c for answer in answers.values() for c in answer.comparisons]
    return "\n\n".join([*paragraphs, _how_far_to_trust(analysis, comparisons)])


def in_brief(answers: Mapping[str, Part]) -> str:
    """A Markdown list of what to do and how certain that is, without numbers; "" where nothing was
    measured."""
    items = [
        f"- **{question}** {answer.advice} *{certainty(answer.comparisons).capitalize()}.*"
        for question, answer in answers.items()
    ]
    link = "[If you distill tomorrow](#If-you-distill-tomorrow)"
    return "\n".join([f"**In brief** (numbers: {link})", "", *items]) if items else ""


def _how_far_to_trust(analysis: Analysis, comparisons: Collection[Comparison]) -> str:
    """Chance among many comparisons, one pretraining, how the sources' claims fared, toy text."""
    count = sum(c.side in ("better", "worse") for c in comparisons)
    sentences = [
        f"**How far to trust this.** Of the {number_of(len(comparisons), 'comparison')} behind "
        f"this advice, {count} {'is' if count == 1 else 'are'} decided. If nothing made any "
        f"difference, about {0.05 * len(comparisons):.1f} would be decided by chance.",
    ]
    if analysis.final["repeat"].nunique() == 1:
        sentences.append(ONE_PRETRAINING)
    evidence = analysis.verdicts[analysis.verdicts["about"] == "results"]
    number = evidence["verdict"].value_counts()
    holds, contradicted = number.get("holds", 0), number.get("contradicted", 0)
    if holds + contradicted:
        claims = number_of(holds + contradicted, "claim")
        sentences.append(f"Of the {claims} that this run settles, {holds} hold.")
    if analysis.results.is_toy:
        sentences.append(TOY_TEXT)
    return " ".join(sentences)
