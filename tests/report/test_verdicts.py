"""What follows from what was measured of a claim: the rule, corrections for many claims, kinds of
unresolved."""

from math import inf, isnan, nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.report import verdicts
from lib.report.statistics import Sample
from lib.report.verdicts import Evidence, holm, kind, largest, p_value, rule, smallest, verdict

ABOVE_0, BELOW_0, ABOUT_1 = (0, inf), (-inf, 0), (0, 2)
RANDOM = np.random.default_rng(0)


def sample(*values, examples=None) -> Sample:
    return Sample(pd.Series(values, dtype=float), examples or {})


def test_the_largest_mirrors_the_smallest():
    parts = [sample(1, 2, 3), sample(4, 4.5, 5)]
    up, down = largest(parts), smallest([-part for part in parts])
    assert up.value == 4.5 == -down.value and (up.low, up.high) == (-down.high, -down.low)
    assert smallest(parts).value == 2.0
    assert smallest([*parts, sample()]).n == 0 == smallest([]).n


def test_the_verdict_rule():
    assert verdict(Evidence(1, 0.5, 1.5, 5), ABOVE_0) == "holds"
    assert verdict(Evidence(-1, -1.5, -0.5, 5), ABOVE_0) == "contradicted"
    assert verdict(Evidence(1, -0.5, 2.5, 5), ABOVE_0) == "unresolved"
    assert verdict(Evidence(1, 0.5, 1.5, 5), BELOW_0) == "contradicted"
    assert verdict(Evidence(1, 0.5, 1.5, 5), ABOUT_1) == "holds"
    assert verdict(Evidence(3, 2.5, 3.5, 5), ABOUT_1) == "contradicted"
    assert verdict(Evidence(2, 1.5, 2.5, 5), ABOUT_1) == "unresolved"
    assert verdict(Evidence(0, 0, 0, 5), ABOVE_0) == "unresolved"
    assert verdict(Evidence(9, nan, nan, 1), ABOVE_0) == "unresolved"
    assert verdict(Evidence(9, 9, 9, 1), ABOVE_0) == "holds", "counted"
    assert verdict(Evidence(9, 9, 9, 5), ABOVE_0) == "unresolved", "five runs, all alike"


def test_p_of_one_comparison_is_that_of_a_t_test():
    values = [0.3, 1.1, 0.8, 1.4]
    assert p_value(smallest([sample(*values)]), ABOVE_0) == pytest.approx(
        stats.ttest_1samp(values, 0).pvalue
    )
    assert p_value(smallest([sample(*values)]), ABOUT_1) == pytest.approx(
        max(stats.ttest_1samp(values, edge).pvalue for edge in ABOUT_1)
    )


@pytest.mark.parametrize("region", [ABOVE_0, BELOW_0, ABOUT_1, (-1, 1)])
@pytest.mark.parametrize("choose", [smallest, largest])
def test_a_claim_is_decided_at_5_percent_where_p_is_below_5_percent(choose, region):
    """The rule by intervals and the p value are one."""
    for _ in range(60):
        middles = RANDOM.normal(0.5, 2, RANDOM.integers(1, 4))
        evidence = choose([sample(*RANDOM.normal(middle, 0.8, 4)) for middle in middles])
        decided = verdict(evidence, region) != "unresolved"
        assert decided == (p_value(evidence, region) < 0.05)


def test_without_an_interval_there_is_no_p():
    for evidence in (Evidence(9, 9, 9, 1), smallest([sample(1)]), smallest([sample(1, 1)])):
        assert isnan(p_value(evidence, ABOVE_0))


def test_corrections_for_many_claims():
    """Holm's own rule written out; Benjamini and Hochberg's by their definition."""
    p = [0.001, nan, 0.04, 0.012, 0.2, 0.011]
    assert holm(p) == pytest.approx([0.005, nan, 0.08, 0.044, 0.2, 0.044], nan_ok=True)
    q = verdicts.benjamini_hochberg(p)
    assert q == pytest.approx([0.005, nan, 0.05, 0.02, 0.2, 0.02], nan_ok=True)
    assert verdicts.benjamini_hochberg([nan]) == pytest.approx([nan], nan_ok=True)


def test_the_kinds_of_unresolved():
    level, small, spans = sample(0.1, -0.2, 0.2), sample(-3, 4, 1), sample(0.4, 1.0, 0.1, 0.9)
    assert kind(smallest([level]), ABOVE_0, 1.0) == "level"
    assert kind(smallest([level]), ABOVE_0, 0.1) == "too small"
    assert kind(smallest([small]), ABOVE_0, 1.0) == "too small"
    assert kind(smallest([spans]), ABOVE_0, 0.9) == "spans the edge"
    assert kind(smallest([small]), ABOVE_0, nan) == "spans the edge"
    assert kind(verdicts.MISSING, ABOVE_0, 1.0) == "not measurable here"
    assert kind(smallest([sample(3)]), ABOVE_0, 1.0) == "one run, no interval"


def test_runs_needed_find_the_difference_or_only_examples_do():
    few = smallest([sample(-1.5, 2, 0.4)])
    needed = verdicts.runs_needed(few, 1.0)
    error = np.std([-1.5, 2, 0.4], ddof=1)

    def detects(n):
        return (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * error / np.sqrt(n)

    assert detects(needed) <= 1.0 < detects(needed - 1)
    noisy = RANDOM.normal(0, 50, 20) + np.zeros((3, 1)) + RANDOM.normal(0, 0.01, (3, 1))
    examples = smallest([sample(*noisy.mean(axis=1), examples={"set": noisy})])
    assert verdicts.runs_needed(examples, 1.0) == inf


def test_only_a_corrected_p_decides():
    clear, weak = smallest([sample(1, 1.1, 0.9)]), smallest([sample(1, 1.9, 0.9, 0.7)])
    assert verdict(weak, ABOVE_0) == "holds"
    alone = rule([weak], [ABOVE_0], [1.0])
    among = rule([weak] * 3 + [clear], [ABOVE_0] * 4, [0.1] * 4)
    assert alone[0].verdict == "holds" and alone[0].kind == ""
    assert [ruling.verdict for ruling in among] == ["unresolved"] * 3 + ["holds"]
    assert among[0].kind == "not after correction" and isnan(among[0].runs_needed)


@pytest.mark.parametrize(
    "region, matters, kind",
    [
        (ABOVE_0, 1.0, "less than matters"),
        (ABOVE_0, 0.5, ""),
        (ABOVE_0, nan, ""),
        ((0.0, 5.0), 1.0, ""),  # near which of two edges?
    ],
)
def test_a_decided_difference_may_be_too_small_to_matter(region, matters, kind):
    clear = smallest([sample(0.5, 0.55, 0.45)])
    [above] = rule([clear], [region], [matters])
    [below] = rule([largest([sample(-0.5, -0.55, -0.45)])], [region], [matters])
    assert (above.verdict, above.kind) == ("holds", kind)
    assert (below.verdict, below.kind) == ("contradicted", kind)
