"""lib.plan.hub_facts: what a plan downloads from the hub."""

from lib.plan import plan
from lib.plan.hub_facts import Download, downloads, fetch


def by_id(*studies):
    return {download.id: download for download in downloads(plan.resolve("paper", list(studies)))}


def test_everything_a_study_reads_is_named_once_with_its_parts():
    found = by_id("herbert")
    klej = [f"allegro/klej-{name}" for name in ("nkjp-ner", "polemo2-in", "polemo2-out")]
    assert list(found) == ["allegro/herbert-base-cased", *klej, "statmt/cc100"]
    assert found["statmt/cc100"].configs == ["pl"] and found["statmt/cc100"].streamed
    assert found["allegro/herbert-base-cased"].kind == "model"


def test_studies_share_downloads():
    found = by_id()
    assert found["google-bert/bert-base-uncased"].studies == ["transfer_set", "ablation"]
    assert found["facebook/xnli"].configs == ["en", "es", "zh", "de", "ar", "ur"]
    # the cascade trains on MNLI's pairs
    assert set(found["nyu-mll/glue"].studies) == {"transfer_set", "ablation", "cascade"}
    assert len(found["wikimedia/wikipedia"].configs) == 103


def test_sizes():
    found = by_id("cascade")
    assert found["facebook/xnli"].megabytes == (360, False)
    assert found["nyu-mll/glue"].megabytes == (57, True)
    assert found["wikimedia/wikipedia"].megabytes == (72000, False)
    assert Download("model", "no/such", None).megabytes is None


def test_toy_scales_need_nothing():
    assert downloads(plan.resolve("tiny", [])) == []


def test_what_is_streamed_is_not_fetched(capsys):
    fetch(by_id("herbert")["statmt/cc100"])
    assert "is streamed" in capsys.readouterr().out
