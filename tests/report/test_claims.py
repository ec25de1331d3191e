"""How claims are read and measured, for a made-up study of a user's own. Every claim of the papers:
test_claims_flip."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from lib.common import places
from lib.common.errors import InputError
from lib.report import claims, claims_view, papers, tables
from lib.report.calculations import calculated
from lib.report.claims import COLUMNS, evaluate
from lib.report.scores import MEAN, by_task
from lib.report.statistics import Sample, Spread, interval
from lib.report.verdicts import Evidence, largest, smallest
from lib.report.wording import with_interval
from lib.studies import registry
from tests.helpers import made_up
from tests.helpers.made_up import NO_EFFICIENCY, herbert_models
from tests.helpers.papers_claims import BY_STUDY, CLAIMS

IN, OUT, NER = TASKS = ["polemo2-in", "polemo2-out", "nkjp-ner"]
LEVELS = made_up.HERBERT
REVERSED = dict(zip(LEVELS, reversed(LEVELS.values())))
REVERSED |= {"S2": (89, 79, 93), "S3": (80, 70, 80), "S4": (79, 69, 79)}
RESULTS, MODELS = made_up.herbert(noise=0.3).assign(study="mine"), herbert_models()
EFFICIENCY = MODELS.assign(
    study="mine", latency_s=[0.02, 0.01], latency_low=[0.019, 0.009], latency_high=[0.022, 0.012]
)
CONSTANT = Sample(pd.Series([6.0, 7, 8.5]))
MINE = replace(
    registry.declared(["herbert"])["herbert"],
    name="mine",
    source="",
    scored=by_task,
    printed=lambda scenario: pd.DataFrame({NER: [LEVELS.get(scenario, [0, 0, 0])[2]]}),
    measures={"constant": lambda *tables: [CONSTANT], "never": lambda *tables: False},
)
GAIN = {"gain": {"better": "S4", "worse": "S3"}}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """A function that reads one entry of params/mine/claims.yaml."""
    folder = tmp_path / "params" / "mine"
    folder.mkdir(parents=True)
    (folder.parent / "papers.yaml").symlink_to(places.ROOT / papers.FILE)
    monkeypatch.setattr(places, "ROOT", tmp_path)

    def read(scenarios=(), **values):
        entry = {"place": "page 1", "claim": "It is so."} | values
        (folder / "claims.yaml").write_text(yaml.safe_dump({"first": entry}))
        [claim] = claims.read(MINE, scenarios)
        return claim

    return read


def evidence(claim, results=RESULTS, efficiency=EFFICIENCY) -> Evidence:
    row = evaluate(results, efficiency, [claim]).iloc[0]
    return Evidence(row["measured"], row["ci_low"], row["ci_high"], row["n"])


def by_seed(scenario: str, column: str = NER) -> Sample:
    return MINE.scores(RESULTS, scenario)[column]


# --- entries --------------------------------------------------------------------------------------


def test_a_study_without_a_file_claims_nothing(read):
    assert claims.read(replace(MINE, name="another")) == []


def test_an_entry_becomes_a_claim(read):
    claim = read(**GAIN, asks="a teacher")
    assert (claim.id, claim.source, claim.claim) == ("mine-first", "page 1", "It is so.")
    assert claim.expected == (0, math.inf) and claim.unit == "points" and claim.asks == "a teacher"
    assert read(**GAIN, place="002, Table 1").source == "002, Table 1"


def test_one_comparison_is_the_plain_paired_difference(read):
    claim = read(gain={"better": "S4", "worse": "S3", "scores": NER})
    plain = interval(by_seed("S4") - by_seed("S3"))
    assert evidence(claim)[:3] == pytest.approx(plain) and evidence(claim).n == 5
    assert claim.paper_value == 1.6, "from the study's printed scores"


def test_several_comparisons_are_corrected_at_their_high_end_alone(read):
    pairs = [("S4", "S3"), ("S4", "S2")]
    several = evidence(read(gain={"better": "S4", "worse": ["S3", "S2"], "scores": IN}))
    plain = [interval(by_seed(a, IN) - by_seed(b, IN)) for a, b in pairs]
    assert several.value == pytest.approx(min(p.mean for p in plain))
    assert several.low == pytest.approx(min(p.low for p in plain))
    assert several.high > min(p.high for p in plain)


@pytest.mark.parametrize(
    "short, long",
    [
        ({"order": ["S3", "S2", "S1"]}, [("S3", "S2"), ("S2", "S1")]),
        ({"order": ["T1", "S3", ["S0", "S1"]]}, [("T1", "S3"), ("S3", "S0"), ("S3", "S1")]),
        ({"better": ["S3", "S4"], "worse": ["S0"]}, [("S3", "S0"), ("S4", "S0")]),
    ],
)
def test_an_order_is_made_of_pairs(read, short, long):
    parts = [by_seed(better) - by_seed(worse) for better, worse in long]
    claim = read(gain={**short, "scores": NER})
    assert evidence(claim)[:4] == pytest.approx(smallest(parts)[:4])


def test_each_stands_for_all_scores_but_the_mean(read):
    each, listed = (
        evidence(read(gain={"better": "S4", "worse": "S3", "scores": names}))
        for names in ("each", TASKS)
    )
    assert each == listed


def test_contrasts_compare_scores(read):
    claim = read(contrast={"better": NER, "worse": "each", "scenarios": "T1"})
    parts = [by_seed("T1") - by_seed("T1", task) for task in (IN, OUT)]
    assert evidence(claim)[:4] == pytest.approx(smallest(parts)[:4])
    claim = read(contrast={"better": NER, "worse": IN, "before": "S0", "after": ["S1", "S2"]})
    parts = [
        (by_seed(name) - by_seed("S0")) - (by_seed(name, IN) - by_seed("S0", IN))
        for name in ("S1", "S2")
    ]
    assert evidence(claim)[:4] == pytest.approx(smallest(parts)[:4])


def test_shares_and_scores(read):
    share = read(share={"scenarios": "S3", "scores": NER}, expected={"above": 90})
    measured = smallest([100 * (by_seed("S3") / by_seed("T1"))])
    assert evidence(share)[:4] == pytest.approx(measured[:4])
    assert share.unit == "% of teacher" and share.paper_value == round(100 * 80.6 / 94.5, 2)
    score = read(score={"scenarios": ["S3", "S4"], "scores": NER}, measured_by="largest")
    measured = largest([by_seed("S3"), by_seed("S4")])
    assert evidence(score)[:4] == pytest.approx(measured[:4])
    assert score.unit == "%"


def test_values_of_models(read):
    kept = {"scenario": "S3", "column": "parameters", "per": "T1", "times": 100}
    assert evidence(read(value=kept, unit="%")).value == pytest.approx(65.351, abs=0.001)
    seen = {"scenario": "S3", "column": "tokens_seen", "per": "T1", "per_column": "parameters"}
    assert evidence(read(value=seen, unit="tokens")).value == pytest.approx(436 / 124.443)
    layers = evidence(read(value={"scenario": "S3", "column": "layers"}, unit="layers"))
    assert layers == Evidence(6, 6, 6, 1)
    assert evidence(read(value=kept, unit="%"), efficiency=NO_EFFICIENCY).n == 0


def test_a_latency_has_an_interval(read):
    speed = {"scenario": "T1", "column": "latency_s", "per": "S3", "times": 10}
    claim = read(value=speed, unit="times", expected={"above": 18})
    assert evidence(claim)[:4] == pytest.approx((20, 10 * 19 / 12, 10 * 22 / 9, 1))
    table = evaluate(RESULTS, EFFICIENCY, [claim])
    assert table["verdict"].tolist() == ["unresolved"], "the interval holds 18"
    shown = claims_view.at_a_glance(table, [claim]).iloc[0]
    assert shown["n"] == "–" and "[" in shown["ours [95 %]"]
    busy = EFFICIENCY.assign(latency_s=[0.02, math.nan])
    assert evidence(claim, efficiency=busy).n == 0


def test_depths_are_those_of_the_teacher(read):
    deep = RESULTS.replace({"scenario": {"S4": "hop-11", "S3": "hop-6"}})
    levels = read(gain={"order": ["hop-{each}"], "scores": NER})
    assert evidence(levels, deep).n == 0, "the depths between were not measured"
    both = read(gain={"better": "hop-{first}", "worse": "hop-{half}", "scores": NER})
    assert evidence(both, deep) == evidence(
        read(gain={"better": "S4", "worse": "S3", "scores": NER})
    )


def test_functions_of_the_study_and_conditions(read):
    measured = pytest.approx(smallest([CONSTANT])[:4])
    assert evidence(read(measure="constant", unit="times"))[:4] == measured
    assert evidence(read(measure="constant", unit="times", only_if="never")).n == 0
    assert evidence(read(measure="constant", unit="times", teacher_size=124e6))[:4] == measured
    assert evidence(read(measure="constant", unit="times", teacher_size=109e6)).n == 0


@pytest.mark.parametrize(
    "expected, region",
    [
        ({"above": 1}, (1, math.inf)),
        ({"below": "paper - 0.5"}, (-math.inf, 1.1)),
        ({"above": 1, "below": 2}, (1, 2)),
        ({"about": "paper", "within": "paper / 10"}, (1.44, 1.76)),
    ],
)
def test_regions(read, expected, region):
    claim = read(gain={"better": "S4", "worse": "S3", "scores": NER}, expected=expected)
    assert claim.expected == pytest.approx(region)


def test_numbers_are_calculated_from_facts_of_the_papers():
    def number(text, source="000"):
        return calculated(text, source, "here", paper=3.0)

    assert number(2) == 2 and number("1e-6") == 1e-6 and number("-(1 + 2) * 4 / 3") == -4
    assert number("student_share - 5") == 60 and number("paper * 2") == 6
    assert number("teacher_parameters of 001") == number("teacher_parameters", "001") == 109.5e6
    assert number("round(1 / 3, 2)") == 0.33


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"gian": {}}, "unknown key 'gian'; allowed are place, claim, gain"),
        ({"gain": {"better": "S4", "wrose": "S3"}}, "unknown key 'gain.wrose'; allowed are better"),
        ({}, "give one of gain, contrast, score, share, value, measure"),
        (GAIN | {"measure": "constant"}, "give one of gain"),
        ({"gain": {"better": "S4"}}, "gain: give better and worse, or order"),
        (
            {"gain": {"better": "S4", "order": ["S4", "S3"]}},
            "gain: give better and worse, or order",
        ),
        (
            {"contrast": {"better": NER, "worse": IN, "scenarios": "S4", "after": "S3"}},
            "contrast: give scenarios, or before and after",
        ),
        (
            {"gain": {"better": "S4", "worse": 3}},
            "gain.worse.0 = 3: input should be a valid string",
        ),
        (GAIN | {"expected": {"about": 3}}, "expected: give above or below or both, or about and"),
        (GAIN | {"expected": {"above": [1]}}, r"expected.above = \[1\]: give a number, or a calc"),
        (GAIN | {"claim": None}, "claim = None: input should be a valid string"),
        ({"value": {"scenario": "S3", "column": "size"}}, "value.column = 'size': input should be"),
        ({"value": {"scenario": "S3", "column": "layers"}}, "give the unit"),
        ({"measure": "sum", "unit": "%"}, "there is no function 'sum'; the study has constant"),
        (GAIN | {"paper": "student_size of 000 +"}, "'student_size of 000 [+]': invalid syntax"),
        (GAIN | {"paper": "2 ** 3"}, "may hold numbers, facts of papers.yaml"),
        (GAIN | {"paper": "size of 000"}, "'size of 000': .*000.facts has no 'size'; it has"),
        (GAIN | {"place": "000, p. 1", "paper": "size"}, "000.facts has no 'size'; it has"),
        (GAIN | {"paper": "9 / 0"}, "'9 / 0': division by zero"),
        (GAIN | {"teacher_size": "1 / 0"}, "'1 / 0': division by zero"),
        (
            {"value": {"scenario": "S3", "column": "layers", "times": "1 / 0"}, "unit": "layers"},
            "'1 / 0': division by zero",
        ),
        (
            {"gain": {"better": "S4", "worse": "hop-{last}"}},
            "a depth may be {first}, {half}, {each}",
        ),
    ],
)
def test_a_bad_entry_is_one_line_with_file_and_entry(read, entry, message):
    read(["S3", "S4", "hop"], gain={"better": ["S4", "hop-{half}", "hop-3"], "worse": "S3"})
    with pytest.raises(InputError, match=r"^params/mine/claims.yaml: first: .*" + message) as error:
        read(["S3", "S4", "hop"], **entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("worse", ["S33", "hip-{half}"])
def test_a_scenario_that_the_study_does_not_have_is_what_the_claim_needs(read, worse):
    """A user may leave out scenarios of a paper's study."""
    claim = read(["S3", "S4", "hop"], gain={"better": "S4", "worse": worse})
    assert claim.asks == f"the scenario {worse}, which the study does not have"
    assert evidence(claim).n == 0


def test_a_study_of_folders_alone_has_claims(read):
    (places.ROOT / "params/mine/scenarios.yaml").write_text(
        "teacher: T1\nscenarios: {S3: {}, S4: {}}"
    )
    read(gain={"better": "S4", "worse": "S3"})
    study = registry.declared(["mine"])["mine"]
    [claim] = claims.read(study, [*study.labels, "T1"])
    mean = sum(by_seed("S4", task) - by_seed("S3", task) for task in TASKS) / 3
    assert evidence(claim)[:4] == pytest.approx(smallest([mean])[:4])
    assert claim.source == "page 1" and math.isnan(claim.paper_value)
    table = claims_view.at_a_glance(evaluate(RESULTS, EFFICIENCY, [claim]), [claim])
    assert table["holds if"].tolist() == ["> 0 points"] and table["paper"].tolist() == ["–"]


# --- verdicts -------------------------------------------------------------------------------------


def test_the_columns_are_the_contracts():
    table = evaluate(made_up.herbert(), MODELS, CLAIMS)
    assert list(table.columns) == COLUMNS
    assert table["id"].is_unique and len(table) == len(CLAIMS) == 98
    assert set(table["verdict"]) <= {"holds", "contradicted", "unresolved"}
    assert table["source"].str.match(r"00[0124], ").all()


def test_claims_about_herberts_own_size_are_left_open_by_toy_models():
    toys = herbert_models(2e6, 1.4e6, 7.6, 5.3, 1e6)
    table = evaluate(made_up.herbert(), toys, CLAIMS).set_index("id")["verdict"]
    assert {table[claim.id] for claim in BY_STUDY["herbert"] if claim.asks} == {"unresolved"}
    assert table["herbert-half-layers-not-half-size"] == table["herbert-short-training"] == "holds"


def test_a_score_on_which_the_teacher_fails_is_not_measured(read):
    """A single one, the main score, and a function of the study; `each` leaves it out, and shares
    are taken above guessing."""

    def row(claim, failed=(NER,)):
        study = replace(MINE, failed=failed, guessing=dict.fromkeys(TASKS, 40.0))
        return evaluate(RESULTS, EFFICIENCY, [replace(claim, study=study)]).iloc[0]

    on_ner = read(gain={"better": "S4", "worse": "S3", "scores": NER})
    assert row(on_ner)["n"] == 0 and "bag of words on NKJP-NER" in row(on_ner)["needs"]
    assert row(on_ner, [])["n"] == 5 and row(on_ner)["kind"] == "not measurable here"
    each = read(gain={"better": "S4", "worse": "S3", "scores": "each"})
    both = smallest([by_seed("S4", task) - by_seed("S3", task) for task in (IN, OUT)])
    assert row(each)["measured"] == pytest.approx(both.value)
    share = read(share={"scenarios": "S3", "scores": IN}, expected={"above": 90})
    above = 100 * ((by_seed("S3", IN) - 40) / (by_seed("T1", IN) - 40))
    assert row(share)["measured"] == pytest.approx(above.mean())
    constant = read(measure="constant", unit="points")
    assert row(constant)["n"] == 3 and row(constant, [MEAN])["n"] == 0


def test_claims_are_corrected_for_their_number_within_a_study(read):
    claim = read(gain={"better": "S4", "worse": "S3", "scores": NER})
    table = evaluate(RESULTS, EFFICIENCY, [claim])
    many = evaluate(RESULTS, EFFICIENCY, [replace(claim, id=f"c{n}") for n in range(7)])
    assert table["p"].tolist() == table["p_holm"].tolist() == table["q"].tolist()
    assert many["p_holm"].to_numpy() == pytest.approx(7 * many["p"].to_numpy())
    assert many["q"].to_numpy() == pytest.approx(many["p"].to_numpy())


def test_the_protocol_chooses_the_rows():
    both = pd.concat([made_up.herbert(), made_up.herbert(REVERSED, protocol="best_epoch")])
    assert evaluate(both, MODELS, CLAIMS).equals(evaluate(made_up.herbert(), MODELS, CLAIMS))
    best = evaluate(both, MODELS, CLAIMS, protocol="best_epoch").set_index("id")
    assert best.loc["herbert-distillation-improves", "verdict"] == "contradicted"


def test_a_seed_without_all_tasks_does_not_count():
    rows = made_up.herbert()
    rows = rows[~((rows["scenario"] == "S3") & (rows["seed"] == 4) & (rows["task"] == OUT))]
    table = evaluate(rows, MODELS, CLAIMS).set_index("id")
    assert table.loc["herbert-distillation-improves", "n"] == 4


# --- variance shared between comparisons ----------------------------------------------------------


def test_the_comparisons_of_a_study_share_their_variance_between_runs():
    """Claims and tables alike, so that no table shows another interval than the claim."""
    results = made_up.herbert(seeds=3, noise=0.3)
    study, claims_of_it = BY_STUDY["herbert"][0].study, BY_STUDY["herbert"]
    shared = claims.sharing(study, claims_of_it, results, MODELS)
    assert shared.spreads["points"].df > 1 and study.spreads == {}
    difference = tables.difference(shared, results, "S4", "S3")
    assert (
        difference.estimate().df > 3 > tables.difference(study, results, "S4", "S3").estimate().df
    )
    by_study = [
        evaluate(results, MODELS, [replace(claim, study=s) for claim in claims_of_it])
        for s in (study, shared)
    ]
    own, together = (table.set_index("id") for table in by_study)
    row = together.loc["herbert-s4-over-s3"]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(difference)[1:])
    cell = tables.differences_table(shared, results).xs("S4 − S3", level="difference")
    assert with_interval(interval(difference)) in cell.to_numpy()
    assert together["p_holm"].median() < own["p_holm"].median() / 2
    # Measured again, what was shared before is not counted in.
    assert claims.sharing(shared, claims_of_it, results, MODELS).spreads == shared.spreads


def test_nothing_is_shared_where_there_is_nothing_to_share():
    study, claims_of_it = BY_STUDY["herbert"][0].study, BY_STUDY["herbert"]
    results = made_up.herbert(seeds=3, noise=0.3)
    assert claims.sharing(study, [], results, MODELS).spreads == {}
    one_run = claims.sharing(study, claims_of_it, made_up.herbert(seeds=1), MODELS)
    alike = claims.sharing(study, claims_of_it, made_up.herbert(noise=0), MODELS)
    assert one_run.spreads == alike.spreads == {}
    one = [claim for claim in claims_of_it if claim.id == "herbert-s4-over-s3"]
    few = claims.sharing(study, one, results, MODELS)
    assert few.spreads["points"] == Spread()
