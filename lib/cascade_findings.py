"""What the cascade study says (004): Markdown paragraphs, worded by the numbers.

`results` are rows of one protocol. Differences are paired by fine-tuning seed, in points; where an interval holds zero a
comparison is undecided.
"""

from collections.abc import Mapping

import pandas as pd

from lib.cascade import (
    AVERAGE,
    CHAINS,
    CHANCE,
    LANGUAGES,
    PAPER_LAYERS,
    accuracy,
    by_scenario,
    chains,
    difference,
    hops,
    languages,
    larger_hops,
    paper_accuracy,
    paper_layers,
    printed_hops,
    teacher_layers,
)
from lib.markdown import plain
from lib.statistics import interval, paired_differences, pm
from lib.wording import by_side, conclusion, decided, number_of, printed, signed, tested, with_interval

ONE_SEED = "One seed has no interval, so nothing is concluded."


def findings(results: pd.DataFrame, steps: Mapping[str, int] = {}) -> list[str]:
    """The answers, a paragraph each. `steps`: scenario -> optimizer steps of its whole chain, where they are known."""
    return [
        transfer_paragraph(results),
        depth_paragraph(results),
        against_paragraph(results, "Is the cascade better than one hop?", "direct", steps),
        against_paragraph(results, "Is the cascade better than no pretraining at all?", "truncated", steps),
        *[
            against_paragraph(results, _question(chain), chain, steps)
            for chain in chains(results)
            if chain not in CHAINS
        ],
        languages_paragraph(results),
    ]


def _question(chain: str) -> str:
    if larger_hops(chain):
        return f"Are more assistants better (one layer at a time against {chain})?"
    return f"Is the cascade better than {chain}?"


def _names(results: pd.DataFrame) -> dict[str, str]:
    """The languages as the data call them, fit for a sentence."""
    return {code: plain(name) for code, name in languages(results).items()}


def transfer_paragraph(results: pd.DataFrame) -> str:
    """Zero-shot transfer of the teacher: points over chance by language, in falling order."""
    head, names = "**How well does the teacher transfer?**", _names(results)
    teacher = accuracy(results, "teacher")
    over = {code: (teacher[code] - CHANCE).dropna() for code in names if teacher[code].notna().any()}
    if not over:
        return f"{head} Not measured: there is no score of the teacher."
    order = sorted(over, key=lambda code: -over[code].mean())
    parts = [f"{names[code]} {with_interval(interval(over[code]))}" for code in order]
    text = f"Fine-tuned on English alone, in points over chance ({CHANCE:.1f} %): {', '.join(parts)}."
    if min(map(len, over.values())) == 1:
        return f"{head} {ONE_SEED} {text}"
    short = [names[code] for code in order if decided(over[code]) <= 0]
    told = f"Not shown to be above chance: {', '.join(short)}." if short else "Above chance in every language."
    if "en" in over and len(over) > 1:
        lag = {code: paired_differences(over[code], over["en"]) for code in order if code != "en"}
        lag = {code: d for code, d in lag.items() if len(d)}
        behind = [names[code] for code, d in lag.items() if decided(d) < 0]
        nearest = max(lag, key=lambda code: lag[code].mean(), default=None)
        if nearest:
            told += (
                f" Shown to be behind English: {', '.join(behind) or 'none'}; nearest to it is {names[nearest]} "
                f"({with_interval(interval(lag[nearest]))})."
            )
    return f"{head} {told} {text}"


def depth_paragraph(results: pd.DataFrame) -> str:
    """What each hop of the cascade costs on average, and what a layer costs over the whole way."""
    head, of = "**What does each layer cost?**", by_scenario(results)
    change = {hop: difference(of, hop[1], hop[0]) for hop in hops(results)}
    change = {hop: d for hop, d in change.items() if len(d)}
    if not change:
        return f"{head} Not measured: no two models of the cascade have a seed in common. {_printed_cost()}"
    (first, _), (_, last) = list(change)[0], list(change)[-1]
    whole, removed = difference(of, last, first), _layers(results, first) - _layers(results, last)
    parts = [
        f"{_layers(results, a)} → {_layers(results, b)}: {with_interval(interval(d))}" for (a, b), d in change.items()
    ]
    text = f"Change of the average at each hop, in points: {'; '.join(parts)}."
    if len(whole):
        text += (
            f" From {_layers(results, first)} layers to {_layers(results, last)} it is {with_interval(interval(whole))}"
        )
        text += f", {with_interval(interval(whole / removed), 2)} a layer." if removed else "."
    if min(map(len, change.values())) == 1:
        return f"{head} {ONE_SEED} {text} {_printed_cost()}"
    falls = sum(decided(d) < 0 for d in change.values())
    rises = sum(decided(d) > 0 for d in change.values())
    counts = {"cost accuracy": falls, "gain": rises, "undecided": len(change) - falls - rises}
    verdict = (
        "Every hop costs accuracy."
        if falls == len(change)
        else f"Of {number_of(len(change), 'hop')}: {', '.join(f'{n} {what}' for what, n in counts.items() if n)}."
    )
    return f"{head} {verdict} {text} {_printed_cost()}"


def _layers(results: pd.DataFrame, scenario: str) -> int:
    return teacher_layers(results) if scenario == "teacher" else int(scenario.rpartition("-")[2])


def _printed_cost() -> str:
    (first, _), (_, last) = printed_hops()[0], printed_hops()[-1]
    change = difference(paper_accuracy, last, first).iloc[0]
    deep, shallow = max(paper_layers()), min(paper_layers())
    return (
        f"The paper prints {printed(signed(change))} points from {deep} layers to {shallow}, "
        f"{printed(signed(change / (deep - shallow), 2))} a layer, one run each."
    )


def against_paragraph(results: pd.DataFrame, question: str, other: str, steps: Mapping[str, int]) -> str:
    """The cascade less another chain at every depth both have, on average; the shallowest is what is concluded from."""
    head, found = f"**{question}**", chains(results)
    of = by_scenario(results)
    at = {
        n: difference(of, f"cascade-{n}", f"{other}-{n}") for n in found.get("cascade", []) if n in found.get(other, [])
    }
    at = {n: d for n, d in at.items() if len(d)}
    theirs = _printed_against(other)
    if not at:
        return f"{head} Not measured: cascade and {other} have no depth and seed in common.{theirs}"
    last = min(at)
    d = at[last]
    text = (
        f"{head} {_sentence(conclusion(interval(d), 'the cascade', other))} At {number_of(last, 'layer')}, cascade less {other}: "
        f"{with_interval(interval(d), 2)} points of the average ({tested(d)}{_with_steps(last, other, steps)})."
    )
    words = {1: ", better", -1: ", worse", 0: ", undecided" if len(d) > 1 else ""}
    higher = [f"{n}: {with_interval(interval(d), 2)}{words[decided(d)]}" for n, d in at.items() if n != last]
    if higher:
        text += f" At other depths, {'; '.join(higher)}."
    names = _names(results)
    split = {names[code]: difference(of, f"cascade-{last}", f"{other}-{last}", code) for code in names}
    return text + (f" By language: {by_side(split)}." if len(d) > 1 else "") + theirs


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _with_steps(layers: int, other: str, steps: Mapping[str, int]) -> str:
    ours, theirs = (steps.get(f"{chain}-{layers}") for chain in ("cascade", other))
    if ours is None or theirs is None:
        return ""
    return f"; {ours:,} optimizer steps each" if ours == theirs else f"; {ours:,} optimizer steps against {theirs:,}"


def _printed_against(other: str) -> str:
    if other == "truncated":
        return " The paper calls its loss almost on par with that of no pretraining, and prints no number for it."
    half = PAPER_LAYERS // 2
    theirs = difference(paper_accuracy, f"cascade-{half}", f"{other}-{half}")
    if theirs.empty and not larger_hops(other):
        return " The paper prints no such comparison."
    if theirs.empty:
        return " The paper prints no such comparison; it cites Mirzadeh et al., who find most assistants best."
    ours, best = (paper_accuracy(f"{chain}-{half}")[AVERAGE].iloc[0] for chain in ("cascade", other))
    return (
        f" The paper prints {printed(signed(theirs.iloc[0]))} at {half} layers: {printed(f'{ours:.1f}')} against LightMBERT's "
        f"{printed(f'{best:.1f}')}."
    )


def languages_paragraph(results: pd.DataFrame) -> str:
    """Which languages lose most from the top of the cascade to its end, neighbours told apart by paired intervals."""
    head, names = "**Which languages lose most?**", _names(results)
    of, way = by_scenario(results), hops(results)
    lost = {code: difference(of, way[-1][1], way[0][0], code) for code in names} if way else {}
    order = sorted((code for code in lost if len(lost[code])), key=lambda code: lost[code].mean())
    if not order:
        return f"{head} Not measured: the cascade has no two depths with a seed in common. {_printed_losses()}"
    parts = [f"{names[code]} {signed(lost[code].mean())}" + _half(lost[code]) for code in order]
    text = (
        f"From {_layers(results, way[0][0])} layers to {_layers(results, way[-1][1])}, in points: {', '.join(parts)}."
    )
    if min(len(lost[code]) for code in order) == 1:
        return f"{head} {ONE_SEED} {text} {_printed_losses()}"
    told = [_rank(lost, code, order, names) for code in dict.fromkeys((order[0], order[-1]))] if order[1:] else []
    ranked = f"The loss is {'; '.join(told)}. " if told else ""
    return f"{head} {ranked}{text} {_of_the_lead(results, way[0][0], lost, order)}{_printed_losses()}"


def _of_the_lead(results: pd.DataFrame, top: str, lost: Mapping[str, pd.Series], order: list[str]) -> str:
    """The same losses as shares of what the top was above chance by: a language near chance has little to lose."""
    lead, names = accuracy(results, top)[order] - CHANCE, _names(results)
    share = {code: (-100 * lost[code] / lead[code]).dropna() for code in order if (lead[code].dropna() > 0).all()}
    ranked = sorted(share, key=lambda code: -share[code].mean())
    parts = [f"{names[code]} {pm(share[code], 0)} %" for code in ranked]
    return f"As a share of the points over chance that were there: {', '.join(parts)}. " if parts else ""


def _half(d: pd.Series) -> str:
    found = pm(d)
    return f" ± {found.split(' ± ')[1]}" if "±" in found else ""


def _rank(lost: Mapping[str, pd.Series], code: str, order: list[str], names: Mapping[str, str]) -> str:
    """Whether the first or last of the order is told apart from its neighbour."""
    first = code == order[0]
    gap = paired_differences(lost[code], lost[order[1] if first else order[-2]])
    side = "largest" if first else "smallest"
    verdict = "decided" if decided(gap) else "undecided"
    return f"{side} in {names[code]}, {with_interval(interval(gap))} against the next: {verdict}"


def _printed_losses() -> str:
    (first, _), (_, last) = printed_hops()[0], printed_hops()[-1]
    lost = {code: difference(paper_accuracy, last, first, code).iloc[0] for code in LANGUAGES}
    order = sorted(lost, key=lost.__getitem__)
    deep, shallow = max(paper_layers()), min(paper_layers())
    return f"The paper's, from {deep} to {shallow}: {', '.join(f'{code} {printed(signed(lost[code]))}' for code in order)}."
