"""What a plan needs from the hub, and fetching it."""

from lib.plan import hub_facts, plan


def needs(*studies):
    return {need.id: need for need in hub_facts.needs(plan.resolve("paper", list(studies)))}


def test_everything_a_study_reads_is_named_once_with_its_parts():
    found = needs("herbert")
    klej = [f"allegro/klej-{name}" for name in ("nkjp-ner", "polemo2-in", "polemo2-out")]
    assert list(found) == ["allegro/herbert-base-cased", *klej, "statmt/cc100"]
    assert found["statmt/cc100"].configs == ["pl"] and found["statmt/cc100"].streamed
    assert found["allegro/herbert-base-cased"].kind == "model"


def test_studies_share_downloads():
    found = needs()
    assert found["google-bert/bert-base-uncased"].studies == ["transfer_set", "ablation"]
    assert found["facebook/xnli"].configs == ["en", "es", "zh", "de", "ar", "ur"]
    assert set(found["nyu-mll/glue"].studies) == {
        "transfer_set",
        "ablation",
        "cascade",
    }  # cascade: MNLI's pairs
    assert len(found["wikimedia/wikipedia"].configs) == 103


def test_sizes():
    found = needs("cascade")
    assert hub_facts.megabytes(found["facebook/xnli"]) == (360, True)
    assert hub_facts.megabytes(found["nyu-mll/glue"]) == (57, False)
    assert hub_facts.megabytes(found["wikimedia/wikipedia"]) == (72000, True)
    assert hub_facts.megabytes(hub_facts.Need("model", "no/such", None)) is None


def test_toy_scales_need_nothing():
    assert hub_facts.needs(plan.resolve("tiny", [])) == []


def test_what_is_streamed_is_not_fetched():
    said = []
    hub_facts.fetch(needs("herbert")["statmt/cc100"], said.append)
    assert "is streamed" in said[0]
