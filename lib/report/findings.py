"""What a study's results say, in sentences that follow from the numbers: Markdown, a paragraph for
each question.

An interval that holds zero is called undecided, and one run concludes nothing.
"""

import numpy as np
import pandas as pd

from lib.plan.schema import Question
from lib.report.declaration import Declaration
from lib.report.results import efficiency_value
from lib.report.scores import NONE
from lib.report.statistics import interval, pm
from lib.report.tables import (
    columns_of,
    difference,
    pairs_of,
    printed_difference,
    scenarios_of,
    share_kept,
    students_of,
    teacher_guesses,
)
from lib.report.wording import (
    by_side,
    capitalised,
    caveat,
    conclusion,
    decided,
    listed,
    number_of,
    plain,
    quoted,
    signed,
    tested,
    with_interval,
)


def findings(study: Declaration, results: pd.DataFrame, efficiency: pd.DataFrame) -> list[str]:
    """One paragraph for each question, one on how much of the teacher is kept, one on what training
    adds to the untrained control if there is one, and the study's own."""
    paragraphs = [question_paragraph(study, results, question) for question in study.questions]
    control = [control_paragraph(study, results)] if study.control else []
    own = study.findings(study, results) if study.findings else []
    return [*paragraphs, kept_paragraph(study, results, efficiency), *control, *own]


def answer(study: Declaration, results: pd.DataFrame) -> str:
    """The study's questions answered, as Markdown: every difference that is decided or level, with
    its interval, then the names of those that are not decided, with their intervals where nothing
    is decided. "" where nothing was measured."""
    told, undecided = [], {}
    for question in study.questions:
        for pair in pairs_of(study, results, question)[:1]:
            gain = difference(study, results, *pair)
            if not len(gain):
                continue
            title = plain(question.title[:1].lower() + question.title[1:].rstrip("?"))
            if caveat(gain) == ", undecided":
                undecided[title] = with_interval(interval(gain))
            else:
                told.append(f"{title} {with_interval(interval(gain))}{caveat(gain)}")
    main = plain(columns_of(study, results)[study.main])
    text = f"Here, in points ({main}): **{'; '.join(told)}**." if told else ""
    if undecided:
        parts = undecided if told else [f"{title} {gain}" for title, gain in undecided.items()]
        text += f" Not decided ({main}): {'; '.join(parts)}."
    return text.strip()


def most_kept(study: Declaration, results: pd.DataFrame, efficiency: pd.DataFrame) -> str:
    """The student that keeps most of the teacher's main score, how much, and how small and fast it
    is, as Markdown; "" where none has a share."""
    kept = {name: share_kept(study, results, name) for name in students_of(study, results)}
    kept = {
        name: share for name, share in kept.items() if len(share) and study.control_of(name) != name
    }
    if not kept:
        return ""
    best = max(kept, key=lambda name: kept[name].mean())
    rank = f", the most of {len(kept)} students" if len(kept) > 1 else ""
    rank += ", less than guessing" if kept[best].mean() < 0 else ""
    scores = [study.scores(results, name)[study.main] for name in (best, study.teacher)]
    costs = []
    for column, title in ("parameters", "parameters"), ("latency_s", "latency"):
        student, teacher = (
            efficiency_value(efficiency, study.name, name, column) for name in (best, study.teacher)
        )
        if student > 0 and teacher > 0:
            costs.append(f"{100 * student / teacher:.0f} % of its {title}")
    return (
        f"**{plain(best)} keeps {pm(kept[best])} % of its teacher's score**{rank} "
        f"({plain(columns_of(study, results)[study.main])}: {pm(scores[0])} against "
        f"{pm(scores[1])}){', with ' if costs else ''}{' and '.join(costs)}."
    )


def question_paragraph(study: Declaration, results: pd.DataFrame, question: Question) -> str:
    """The verdict, the difference on the main score, and on which other scores it holds. Two chains
    are judged at their shallowest common depth; other depths are added."""
    pairs = {pair: difference(study, results, *pair) for pair in pairs_of(study, results, question)}
    pairs = {pair: gains for pair, gains in pairs.items() if len(gains)}
    if not pairs:
        return f"**{question.title}** Not measured: " + _without(
            study, results, question.better, question.worse
        )
    (better, worse), gains = next(iter(pairs.items()))
    titles = columns_of(study, results)
    means = [study.scores(results, name)[study.main].mean() for name in (better, worse)]
    sentences = [
        f"**{question.title} ({better} against {worse}).**",
        conclusion(interval(gains), better, worse),
        f"{capitalised(titles[study.main])}: {means[0]:.1f} against {means[1]:.1f}, "
        f"{with_interval(interval(gains))} points ({tested(gains)}).",
    ]
    others = {
        title: difference(study, results, better, worse, column)
        for column, title in titles.items()
        if column != study.main
    }
    if others and len(gains) > 1:
        sentences.append(f"By score: {by_side(others)}.")
    if depths := [
        f"{with_interval(interval(gain))} ({deeper[0]})" for deeper, gain in list(pairs.items())[1:]
    ]:
        sentences.append(f"At other depths: {', '.join(depths)}.")
    paper = printed_difference(study, results, better, worse)
    if not np.isnan(paper):
        sentences.append(f"The paper's single run gave {quoted(signed(paper))}.")
    return " ".join(sentences)


def kept_paragraph(study: Declaration, results: pd.DataFrame, efficiency: pd.DataFrame) -> str:
    """The share of the teacher's main score that each student keeps, and of its parameters."""
    head = "**How much of the teacher is kept.**"
    title = plain(columns_of(study, results)[study.main])
    if teacher_guesses(study, results):
        return (
            f"{head} No share is given: {study.teacher} itself "
            f"({pm(study.scores(results, study.teacher)[study.main])}, {title}) cannot be told "
            f"from guessing, which scores {study.guessing[study.main]:.1f}."
        )
    kept = {name: share_kept(study, results, name) for name in students_of(study, results)}
    kept = {name: share for name, share in kept.items() if len(share)}
    if not kept:
        students = students_of(study, results)
        return f"{head} Not measured: {_without(study, results, *students, study.teacher)}"
    fewest, *_, most = sorted(kept.values(), key=len) * 2
    count = number_of(len(most), most.index.name)
    count = count if len(fewest) == len(most) else f"{len(fewest)} to {count}"
    parts = ", ".join(f"{name} {pm(share)} %" for name, share in kept.items())
    text = (
        f"{head} Each student's share of the teacher's score ({title}), run by run ({count}): "
        f"{parts}."
    )
    sizes = efficiency[efficiency["study"] == study.name].groupby("scenario")["parameters"].max()
    teacher = sizes.get(study.teacher, np.nan)
    shares = {100 * sizes[name] / teacher for name in kept if name in sizes.index}
    shares = sorted(share for share in shares if not np.isnan(share))
    if shares:
        ends = " to ".join(dict.fromkeys(f"{share:.1f}" for share in (shares[0], shares[-1])))
        text += f" They have {ends} % of its parameters."
    return text


def _without(study: Declaration, results: pd.DataFrame, *names: str) -> str:
    """Why scenarios or chains have no difference: some were not measured, or they share no run."""
    measured = scenarios_of(study, results)
    known = {*measured, *(study.chain_of(name)[0] for name in measured)}
    if missing := [name for name in names if name not in known]:
        return f"this run has no {' and no '.join(missing)}."
    return f"{listed(names)} have no run in common with all scores."


def control_paragraph(study: Declaration, results: pd.DataFrame) -> str:
    """Which students are above their untrained control, which below, and by how much."""
    head = "**What training adds to the untrained control.**"
    gains = {}
    for name in students_of(study, results):
        control = study.control_of(name)
        if name != control and len(gain := difference(study, results, name, control)):
            gains[name] = gain
    if not gains:
        students = students_of(study, results)
        return f"{head} Not measured: {_without(study, results, *students, study.control)}"
    numbers = "; ".join(f"{name} {with_interval(interval(gain))}" for name, gain in gains.items())
    numbers = f"In points ({plain(columns_of(study, results)[study.main])}): {numbers}."
    if min(map(len, gains.values())) == 1:
        return f"{head} One run has no interval, so nothing is concluded. {numbers}"
    sides = {1: "Above it", -1: "Below it", 0: "Not told apart from it"}
    found = {
        words: [name for name, gain in gains.items() if decided(gain) == side]
        for side, words in sides.items()
    }
    verdict = " ".join(f"{words}: {listed(names)}." for words, names in found.items() if names)
    return f"{head} {verdict} {numbers}"


def optimism_paragraph(study: Declaration, all_results: pd.DataFrame) -> str:
    """How much the maximum over epochs exceeds the last epoch: `all_results` hold both
    protocols."""
    head = "**How optimistic the best epoch is.**"
    by_protocol = dict(tuple(all_results.groupby("protocol")))
    final, best = (by_protocol.get(name, all_results[:0]) for name in ("final", "best_epoch"))
    gains = {}
    for name in scenarios_of(study, final):
        best_score, last_score = (
            study.scores(results, name).get(study.main, NONE) for results in (best, final)
        )
        gains[name] = best_score - last_score
    gains = {name: gain for name, gain in gains.items() if len(gain)}
    if not gains:
        return f"{head} Not measured: no run has a score under both protocols."
    if not any((gain.values.abs() > 1e-9).any() for gain in gains.values()):
        return f"{head} Of every run the last epoch is the best, or the only one that was scored."
    whole = sum(gains.values()) / len(gains)
    size = f"{with_interval(interval(whole))} points ({number_of(len(whole), whole.index.name)})"
    if whole.empty:
        size = f"{signed(np.mean([gain.mean() for gain in gains.values()]))} points"
    most = max(gains, key=lambda name: gains[name].mean())
    return (
        f"{head} Scored by its best epoch on the very split that is reported, a run gains {size} "
        f"over its last epoch ({columns_of(study, final)[study.main]}, mean of "
        f"{number_of(len(gains), 'scenario')}); most for {most} "
        f"({with_interval(interval(gains[most]))}). The maximum cannot be lower than the last "
        "epoch: this is a size, not a test."
    )
