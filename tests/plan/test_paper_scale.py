"""The scale `paper`: every value with its place, revisions pinned, and token counts that are the
seeds' own."""

import re

import pytest
import yaml

from lib.common.places import ROOT
from lib.plan import plan
from lib.plan.forecast import Estimates
from lib.plan.hub_facts import downloads
from lib.plan.study import studies_with
from lib.report.papers import fact, table

COMMENT_ABOVE = (
    "licences",
    "sources",
    "task_revisions",
    "per_task",
    "expected",
    "teacher",
    "DistilBERT",
    "DistilmBERT",
    "languages",
)
"""Blocks whose own comment says it for all that stands in them."""
MOVING = {
    ("google/bert_uncased_L-12_H-256_A-4", "refs/pr/1"),
    ("allegro/herbert-base-cased", "refs/pr/2"),
    ("statmt/cc100", "refs/convert/parquet"),
    ("bookcorpus/bookcorpus", "refs/convert/parquet"),
    ("allegro/klej-polemo2-in", None),
    ("allegro/klej-polemo2-out", None),
}
"""No commit of these is known to us: a branch, or none."""


@pytest.fixture(scope="module")
def stages():
    return {stage.path.name: stage for stage in plan.resolve("paper", [])}


@pytest.fixture(scope="module")
def estimates(stages):
    all_estimates = Estimates()
    return {name: all_estimates.estimate(stage) for name, stage in stages.items()}


@pytest.mark.parametrize("study", studies_with("paper"))
def test_every_value_says_where_it_stands(study):
    above: list[tuple[int, str]] = []  # the blocks a line is in: indent, key
    for number, line in enumerate(
        (ROOT / f"params/{study}/paper.yaml").read_text(encoding="utf-8").splitlines(), 1
    ):
        match = re.match(r"(?P<indent>[ -]*)(?P<key>[\w.]+|\"[^\"]+\"): *(?P<value>[^#]*)", line)
        if not match:
            continue
        indent = len(match["indent"])
        above = [block for block in above if block[0] < indent]
        explained = (
            "#" in line
            or any(key in COMMENT_ABOVE for _, key in above)
            or study == "ablation"
            and match["key"] == "uses"
        )
        assert explained or not match["value"].strip(), f"{study}/paper.yaml, line {number}: {line}"
        above.append((indent, match["key"]))


@pytest.mark.parametrize("scale", ["paper", "gpuday", "mini"])
def test_hub_ids_have_a_pinned_revision(scale):
    for need in downloads(plan.resolve(scale, [])):
        pinned = need.revision and re.fullmatch("[0-9a-f]{40}", need.revision)
        assert pinned or (need.id, need.revision) in MOVING, (need.id, need.revision)


def test_herbert_reads_218_million_tokens_twice(estimates):
    tokens = fact("000", "corpus_tokens")
    assert estimates["herbert/corpus_transfer/data_prep"].volume.tokens == tokens == 218e6
    for name in (
        "T2/teacher_continuation",
        "S1/distillation",
        "S2/distillation",
        "S3/distillation",
        "S4/distillation",
    ):
        assert estimates[f"herbert/{name}"].tokens == pytest.approx(2 * tokens)
    longer, s3 = (estimates[f"herbert/{name}/distillation"] for name in ("S2_longer", "S3"))
    assert longer.tokens == pytest.approx(2.5 * 2 * tokens)
    assert longer.flops == pytest.approx(s3.flops, rel=0.02)
    for name in ("S0", "truncated"):
        assert estimates[f"herbert/{name}/distillation"].flops == 0


def test_transfer_sets_have_the_tokens_of_table_5(estimates):
    printed = table("001", "transfer_sets_size")
    assert printed.loc["corpus10pct", "tokens"] == 402.6e6
    for name in ("corpus10pct", "corpus1pct", "corpus0.1pct"):
        assert (
            estimates[f"transfer_set/corpus_{name}/data_prep"].volume.tokens
            == printed.loc[name, "tokens"]
        )
        assert estimates[f"transfer_set/{name}/distillation"].tokens == pytest.approx(
            3 * printed.loc[name, "tokens"]
        )
    for name in ("randomised", "generated", "bigram"):
        assert estimates[f"transfer_set/corpus_{name}/data_prep"].volume.tokens == 402.6e6


def test_a_hop_reads_66666_times_256_lines(stages, estimates):
    hops = [f"cascade/cascade-{layers}/cascade_ta" for layers in range(11, 5, -1)]
    assert [estimates[name].sequences for name in hops] == [66_666 * 256] * 6
    assert estimates["cascade/direct-6/cascade_ta"].sequences == 6 * 66_666 * 256
    for name in hops:
        assert estimates[name].volume.basis == "at most"
        assert estimates[name].tokens <= 66_666 * 256 * 128
    p = stages["cascade/corpus_corpus/data_prep"].parameters
    assert p["sampled_lines"] >= 6 * 66_666 * 256 and p["sections"] == 6


def test_students_side_by_side_are_computed_once(estimates):
    leader, alone = (
        estimates["ablation/without_soft/distillation"],
        estimates["transfer_set/corpus10pct/distillation"],
    )
    assert estimates["ablation/temperature4/distillation"].flops == 0
    assert (
        alone.flops < leader.flops < 12 * alone.flops
    )  # twelve students, one reading by their teacher


def test_hyperparameters_of_004_table_2(stages):
    printed = table("004", "hyperparameters")
    hop, last = (stages[f"cascade/cascade-{layers}/cascade_ta"].parameters for layers in (11, 6))
    ours = {
        "steps": hop["steps"],
        "batch_size": hop["batch_size"],
        "peak_lr": hop["learning_rate"],
        "beta_1": hop["adam_beta1"],
        "beta_2": hop["adam_beta2"],
        "weight_decay": hop["weight_decay"],
        "eps": hop["adam_epsilon"],
    }
    assert all(value == printed.loc[key, "pretraining"] for key, value in ours.items())
    assert hop["warmup"] == 1 and last["warmup"] * last["steps"] == pytest.approx(6666, abs=1)
    p = stages["cascade/teacher/finetune"].parameters
    theirs = printed["finetuning"]
    assert (p["epochs"], p["batch_size"], p["learning_rate"], p["adam_epsilon"]) == tuple(
        theirs[["epochs", "batch_size", "peak_lr", "eps"]]
    )
    assert p["freeze_embeddings"] and p["warmup"] == 0 and p["schedule"] == "constant"


def test_the_languages_are_mberts():
    sources = yaml.safe_load((ROOT / "params/cascade/paper.yaml").read_text(encoding="utf-8"))[
        "corpora"
    ]["corpus"]["sources"]
    languages = sources[0]["languages"]
    assert len(languages) == len(set(languages)) == 103 and {
        "en",
        "is",
        "no",
        "zh",
        "th",
        "mn",
    } <= set(languages)
