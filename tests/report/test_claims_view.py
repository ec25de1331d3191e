"""The tables of claims for readers, on made-up results."""

import re
from math import inf, nan

import pandas as pd
import pytest

from lib.report import claims_view
from lib.report.claims import evaluate
from lib.report.page import show
from tests.helpers import made_up
from tests.helpers.made_up import NO_EFFICIENCY
from tests.helpers.papers_claims import BY_ID, BY_STUDY, CLAIMS

LABELLED = {claims[0].study.short: claims for claims in BY_STUDY.values()}
S4_BEST, SHARE = BY_ID["herbert-s4-best-ner"], BY_ID["herbert-share"]
EVIDENCE = [claim for claim in CLAIMS if claim.about == "results"]


@pytest.fixture(scope="module")
def verdicts() -> pd.DataFrame:
    """Two studies measured, at the papers' levels."""
    results = pd.concat([made_up.herbert(), made_up.transfer_set(noise=0.05)])
    models = pd.concat(
        [made_up.herbert_models(), made_up.efficiency("transfer_set", ["teacher", "corpus10pct"])]
    )
    return evaluate(results, models, CLAIMS)


def test_every_claim_stands_in_one_line_of_one_table(verdicts):
    absent = claims_view.not_measured(verdicts, CLAIMS)
    measured = [claims_view.at_a_glance(verdicts, BY_STUDY[study]) for study in BY_STUDY]
    assert [len(table) for table in measured] == [25, 21, 0, 0]
    assert sorted([*pd.concat(measured)["claim"], *absent["claim"]]) == sorted(
        claim.claim for claim in CLAIMS
    )
    assert not re.search(r"\bnan\b|\binf\b|None", pd.concat([*measured, absent]).to_csv())
    assert (
        claims_view.at_a_glance(verdicts, CLAIMS).values.tolist()
        == pd.concat(measured).values.tolist()
    )
    html = show.table(measured[0], "caption", theirs=claims_view.PAPER_COLUMNS).data
    assert html.count('class="num theirs"') == 1 + len(measured[0])  # one column, and its heading


def test_a_line_says_the_verdict_ours_theirs_and_what_the_claim_asks(verdicts):
    table = claims_view.at_a_glance(verdicts, BY_STUDY["herbert"])
    line = table.iloc[0]
    assert (
        line["claim"] == S4_BEST.claim
        and line["place"] == S4_BEST.source
        and line["paper"] == "1.60"
    )
    assert re.fullmatch(r"1\.\d\d \[1\.\d\d, 1\.\d\d\]", line["ours [95 %]"]) and line["n"] == "5"
    assert line["holds if"] == "> 0 points" and line["verdict"] == "✓\u00a0holds"
    share = table[table["claim"] == SHARE.claim].iloc[0]
    assert (
        share["ours [95 %]"] == "65.4"
        and share["n"] == "–"
        and share["holds if"] == "64 to 66 % of parameters"
    )


def test_what_was_not_measured_says_what_it_needs(verdicts):
    table = claims_view.not_measured(verdicts, CLAIMS).set_index("claim")
    needs = {claim.id: table["needs"].get(claim.claim) for claim in CLAIMS}
    assert needs["cascade-more-assistants"] == "a cascade of larger hops"
    assert needs["ablation-half-the-size"] == "a teacher of BERT-base's size"
    assert needs["ablation-keeps-97"] == "all that it compares" and needs["herbert-share"] is None


@pytest.mark.parametrize(
    "kind, runs, why",
    [
        ("level", nan, "level"),
        ("too small", 12.0, "takes 12 repeats"),
        ("too small", inf, "takes more examples"),
        ("one run, no interval", nan, "one run, no interval"),
    ],
)
def test_why_a_claim_is_open(verdicts, kind, runs, why):
    row = verdicts.head(1).assign(verdict="unresolved", kind=kind, runs_needed=runs)
    table = claims_view.at_a_glance(row, CLAIMS)
    assert table["verdict"].tolist() == [f"?\u00a0unresolved: {why}"]


def test_the_summary_says_how_many_claims_the_run_had_the_power_to_decide(verdicts):
    rows = verdicts.head(3).assign(about="results", paper_effect=2.0, kind="")
    rows = rows.assign(detectable=[1.0, 2.0, 3.0], verdict=["holds", "unresolved", "unresolved"])
    text = "a difference as large as the source's for 2 of them; of these, 1 is decided or level."
    assert text in claims_view.summary(rows)
    assert S4_BEST.paper_effect == pytest.approx(1.6)
    assert "as the source's" not in claims_view.summary(rows.assign(paper_effect=nan))


@pytest.mark.parametrize("verdict, mark", [("holds", "✓"), ("contradicted", "✗")])
def test_a_decided_claim_may_be_so_by_less_than_matters(verdicts, verdict, mark):
    row = verdicts.head(1).assign(verdict=verdict, kind="less than matters")
    [text] = claims_view.at_a_glance(row, CLAIMS)["verdict"]
    assert text == f"{mark}\u00a0{verdict}, by less than matters"
    assert claims_view.summary(row).endswith("Of those decided, 1 is so by less than matters.")


@pytest.mark.parametrize(
    "id, region",
    [
        ("transfer-set-faster", "> 1 times"),
        ("transfer-set-noise-poor-squad", "< 50 % of teacher"),
        ("cascade-near-untrained", "−1 to 1 points"),
        ("transfer-set-speed", "1.63 to 2.03 times"),
    ],
)
def test_the_region_that_a_claim_needs(id, region):
    assert claims_view.region(BY_ID[id]) == region


def test_the_counts_add_up(verdicts):
    table = claims_view.counts(verdicts, LABELLED)
    studies, apart = ["HerBERT", "Transfer sets", "DistilBERT", "CAMeMBERT"], table.index[-1]
    assert list(table.index) == [*studies, "all", apart] and "configuration" in apart
    assert (table.drop(columns="claims").sum(axis=1) == table["claims"]).all()
    assert (table.loc[studies].sum() == table.loc["all"]).all()
    assert table.loc[["all", apart], "claims"].tolist() == [
        len(EVIDENCE),
        len(CLAIMS) - len(EVIDENCE),
    ]
    assert table.loc["CAMeMBERT", "not measured"] == sum(
        claim.study.name == "cascade" for claim in EVIDENCE
    )
    assert (
        "all"
        not in claims_view.counts(
            verdicts[verdicts["id"].str.startswith("herbert")], LABELLED
        ).index
    )


def test_the_summary(verdicts):
    none = verdicts.assign(n=0, measured=nan, ci_low=nan, ci_high=nan, verdict="unresolved")
    text = "0 hold, 0 are contradicted, 0 come out level, 0 are undecided and {} cannot be measured"
    assert text.format(len(EVIDENCE)) in claims_view.summary(none)
    one = none.head(1).assign(n=3, kind="level")
    assert "0 are contradicted, 1 comes out level, 0 are undecided" in claims_view.summary(one)
    assert len(claims_view.counts(none.iloc[:0], LABELLED)) == 0


def test_a_claim_that_the_verdicts_no_longer_has_is_left_out(verdicts):
    foreign = verdicts.head(1).assign(id="unknown")
    assert (
        len(claims_view.at_a_glance(foreign, BY_STUDY["herbert"]))
        == len(claims_view.not_measured(foreign, CLAIMS))
        == 0
    )


@pytest.mark.parametrize("study", BY_STUDY)
def test_every_name_in_a_claim_is_explained(study):
    names = r"\b(S[0-4]|T[12]|MLM|EM|F1|GLUE|SQuAD|XNLI|WNLI|CoLA|MNLI|NKJP-NER|PolEmo2\.0|LightMBERT|CAMeMBERT|DistilBERT)\b"
    used = {name for claim in BY_STUDY[study] for name in re.findall(names, claim.claim)}
    studies = BY_STUDY if study == "transfer_set" else [study]
    explained = " ".join(BY_STUDY[name][0].study.words for name in studies)
    assert used and not [name for name in used if name not in explained]


def test_a_negative_number_has_a_minus_sign():
    low = made_up.herbert({"S4": (60, 60, 60.0), "S3": (80, 80, 80.0)})
    table = claims_view.at_a_glance(
        evaluate(low, NO_EFFICIENCY, claims=[BY_ID["herbert-s4-over-s3"]]), BY_STUDY["herbert"]
    )
    assert (
        table["ours [95 %]"].iloc[0].startswith("−20.0") and "-" not in table["ours [95 %]"].iloc[0]
    )
    assert table["verdict"].iloc[0] == "✗\u00a0contradicted"
