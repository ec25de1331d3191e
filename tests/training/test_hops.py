"""One hop from parameters to a trained assistant: on a small prepared corpus, and at full size on
the meta device."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from lib.common.errors import InputError
from lib.data.prepared import open_corpus
from lib.plan.stages import validate
from lib.report import stages
from lib.training import batches, hops, loop, models, pretraining, probes

FIRST = [40, 30, 0]  # sequences of the first sections of the corpus; the fourth has the rest


@pytest.fixture(scope="module")
def folder(prepared):
    """The prepared corpus; its statistics say that it is cut into sections."""
    statistics = Path(prepared["corpus"]) / "statistics.json"
    values = json.loads(statistics.read_text(encoding="utf-8"))
    sections = FIRST + [values["sequences"] - sum(FIRST)]
    statistics.write_text(json.dumps(values | {"sections": sections}), encoding="utf-8")
    return statistics.parent


@pytest.fixture(scope="module")
def corpus(folder):
    return open_corpus(folder)


@pytest.fixture(scope="module")
def saved(prepared):
    return prepared["teacher"]


def given(saved, folder, **more):
    return validate(
        "cascade_ta",
        {
            "teacher": saved,
            "layers": 3,
            "corpus": str(folder),
            "learning_rate": 1e-2,
            "steps": 8,
            "batch_size": 8,
            "micro_batch_size": 4,
        }
        | more,
    )


def run(p, corpus, place, teacher=None):
    """The assistant and history of one hop."""
    teacher = teacher or pretraining.load_teacher(p, corpus)
    assistant = hops.starting_assistant(p, teacher)
    return assistant, hops.hop(p, hops.objective(p, assistant, teacher), corpus, place)


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


# --------------------------------------------------------------------------------------- parameters


def test_the_defaults_are_the_optimizer_of_004():
    p = validate("cascade_ta", {"teacher": "t", "layers": 11, "corpus": "c", "learning_rate": 1e-7})
    recipe = loop.recipe(p)
    assert (recipe.schedule, recipe.warmup, recipe.weight_decay, recipe.clip) == (
        "linear",
        0.1,
        0.0,
        0.0,
    )
    assert recipe.betas == (0.9, 0.999) and recipe.epsilon == 1e-9
    assert (p.mapping, p.weight_hidden, p.weight_attention, p.weight_soft) == ("adjacent", 1, 1, 0)
    assert (p.dropout, p.freeze_embeddings, p.mask_probability, p.section) == ("both", True, 0, 0)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"mapping": "skip"},
            "mapping skip gives the last layer no target and needs weight_soft above 0",
        ),
        (
            {"mapping": "last"},
            "mapping = 'last': input should be 'adjacent', 'uniform', 'top' or 'skip'",
        ),
        ({"layers": 0}, "layers = 0: input should be greater than 0"),
        ({"dropout": True}, "dropout = True: input should be 'both', 'student' or 'none'"),
        (
            {"weight_attention": -1},
            "weight_attention = -1: input should be greater than or equal to 0",
        ),
        ({"section": -1}, "section = -1"),
        ({"weight_mlm": 1}, "unknown key 'weight_mlm'; allowed are"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(InputError, match=message) as error:
        given("t", "c", **wrong)
    assert "\n" not in str(error.value)
    assert given("t", "c", mapping="skip", weight_soft=1).mapping == "skip"


# ----------------------------------------------------------------------------------------- sections


def test_sections_are_the_stored_sequences_in_order(folder, corpus):
    ids = [row.tolist() for row in corpus.rows(range(len(corpus)))[0]]
    first = 0
    for number, size in enumerate([*FIRST, len(corpus) - sum(FIRST)], 1):
        section = open_corpus(folder, section=number)
        assert (
            len(section) == size
            and section.lengths.tolist() == corpus.lengths[first : first + size].tolist()
        )
        rows, starts = section.rows(np.arange(size))
        assert [row.tolist() for row in rows] == ids[first : first + size]
        assert [len(start) for start in starts] == section.lengths.tolist()
        first += size
    assert len(open_corpus(folder, section=0)) == len(corpus) == first > sum(FIRST)


@pytest.mark.parametrize("section", [5, -1])
def test_a_section_that_is_not_there(folder, section):
    with pytest.raises(
        InputError, match=rf"section = {section}: the corpus .* has 4 sections; allowed is 0 .* … 4"
    ) as error:
        open_corpus(folder, section=section)
    assert "\n" not in str(error.value)


def test_a_corpus_without_sections(folder, tmp_path):
    (tmp_path / "data").symlink_to(folder / "data")
    (tmp_path / "statistics.json").write_text("{}", encoding="utf-8")
    assert len(open_corpus(tmp_path)) == len(open_corpus(folder))
    with pytest.raises(
        InputError, match="section = 1: the corpus .* has 0 sections; allowed is 0, all of it"
    ):
        open_corpus(tmp_path, section=1)


def test_a_hop_reads_no_other_section(saved, folder, tmp_path):
    """30 sequences in batches of 8: three steps an epoch, all of one section."""
    p, section = given(saved, folder, section=2), open_corpus(folder, section=2)
    data = batches.batches(p, section)
    inside = {tuple(row.tolist()) for row in open_corpus(folder).rows(range(40, 70))[0]}
    seen = {
        tuple(row[keep].tolist())
        for step in range(data.steps)
        for batch in data.at(step)
        for row, keep in zip(batch.inputs, batch.kept)
    }
    assert seen == inside and data.steps == 8
    with pytest.raises(InputError, match="holds no sequence"):
        run(given(saved, folder, section=3), open_corpus(folder, section=3), tmp_path)


# ---------------------------------------------------------------------------------- where it starts


def test_every_hop_from_12_to_6_starts_from_the_lowest_layers_of_its_teacher():
    """Each assistant is trained (here: disturbed) before it becomes a teacher. No prefix `layer.1`
    may take layer 11."""
    teacher = models.new_encoder(
        vocab_size=40, layers=12, hidden=8, heads=2, intermediate=8, max_length=16, pad_id=0, seed=3
    )
    for layers in range(11, 5, -1):
        assistant = hops.starting_assistant(given("t", "c", layers=layers), teacher)
        before, expected = weights(teacher), {}
        for name, weight in before.items():
            part = name.split(".")
            if part[:3] != ["bert", "encoder", "layer"] or int(part[3]) < layers:
                expected[name] = weight
        found = weights(assistant)
        assert assistant.config.num_hidden_layers == layers and found.keys() == expected.keys()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
        with torch.no_grad():
            for parameter in assistant.parameters():
                parameter.add_(torch.randn_like(parameter))
        assert all(
            torch.equal(weight, before[name]) for name, weight in weights(teacher).items()
        )  # no memory is shared
        teacher = assistant
    assert {name.split(".")[3] for name in found if ".layer." in name} == set("012345")


@pytest.mark.parametrize("layers", [4, 5])
def test_an_assistant_must_be_shallower(saved, folder, layers):
    with pytest.raises(
        InputError, match=rf"^layers = {layers}: the teacher .* has 4; allowed are 1 … 3$"
    ):
        hops.starting_assistant(given(saved, folder, layers=layers), models.load(saved))


def test_the_embeddings_are_frozen_if_so_wished(saved, folder):
    for frozen in (True, False):
        assistant = hops.starting_assistant(
            given(saved, folder, freeze_embeddings=frozen), models.load(saved)
        )
        fixed = {
            name for name, parameter in assistant.named_parameters() if not parameter.requires_grad
        }
        names = {
            f"bert.embeddings.{name}" for name, _ in assistant.bert.embeddings.named_parameters()
        }
        assert fixed == (names if frozen else set()) and len(names) == 5
        assert (
            assistant.cls.predictions.decoder.weight
            is assistant.bert.embeddings.word_embeddings.weight
        )


def test_multilingual_bert_and_its_assistant_at_full_size():
    """mBERT cased: 119,547 WordPieces, 12 layers of 768; CAMeMBERT and LightMBERT have 6."""
    config = BertConfig(vocab_size=119_547)
    with torch.device("meta"):
        teacher, smaller = BertModel(config), copy.deepcopy(config)
        smaller.num_hidden_layers = 6
        student = BertModel(smaller, add_pooling_layer=False)
    assert models.parameter_count(teacher) / 1e6 == pytest.approx(177.853, abs=5e-4)
    assert models.parameter_count(student) / 1e6 == pytest.approx(134.736, abs=5e-4)
    assert models.parameter_count(student.embeddings) > 2 * models.parameter_count(
        student.encoder
    )  # what is frozen


# ----------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("soft, frozen", [(0.0, True), (1.0, True), (1.0, False)])
def test_what_is_frozen_stays_and_the_rest_moves(saved, folder, corpus, tmp_path, soft, frozen):
    p = given(saved, folder, weight_soft=soft, freeze_embeddings=frozen)
    teacher = pretraining.load_teacher(p, corpus)
    fixed = weights(teacher)
    before = weights(hops.starting_assistant(p, teacher))
    assistant, history = run(p, corpus, tmp_path, teacher)
    after = weights(assistant)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    still = {name for name in before if frozen and name.startswith("bert.embeddings.")}
    still |= (
        set() if soft else {name for name in before if name.startswith("cls.")}
    )  # no loss reads the head
    assert set(before) - moved == still
    assert all(torch.equal(weight, fixed[name]) for name, weight in weights(teacher).items())
    assert len(history) == 8 and not assistant.training and not teacher.training


def test_a_hop_brings_the_assistant_closer(saved, folder, corpus, tmp_path):
    held_out = open_corpus(folder, "held_out")
    for mapping in ("adjacent", "uniform", "top"):
        p = given(saved, folder, steps=60, mapping=mapping, dropout="none", learning_rate=3e-3)
        teacher = pretraining.load_teacher(p, corpus)
        far = hops.distances(p, hops.starting_assistant(p, teacher), teacher, held_out)
        assistant, history = run(p, corpus, tmp_path / mapping, teacher)
        near = hops.distances(p, assistant, teacher, held_out)
        assert near["hidden"] + near["attention"] < 0.7 * (far["hidden"] + far["attention"])
        assert near["hidden_0"] == far["hidden_0"] == pytest.approx(history[0]["hidden_0"], rel=0.2)
        assert history[-1]["loss"] == pytest.approx(
            history[-1]["hidden"] + history[-1]["attention"], rel=1e-5
        )
        assert near["hidden"] == pytest.approx(
            sum(near[f"hidden_{k}"] for k in range(4)) / 3, rel=1e-5
        )


def test_bf16_comes_close_to_fp32(saved, folder, corpus, tmp_path):
    losses = []
    for precision in ("no", "bf16"):
        p = given(
            saved, folder, precision=precision, dropout="none", weight_soft=1.0, learning_rate=1e-3
        )
        losses.append(run(p, corpus, tmp_path / precision)[1][-1])
    for name in ("loss", "hidden", "attention", "soft"):
        assert losses[0][name] == pytest.approx(losses[1][name], rel=0.05), name


def test_masked_words_are_hidden_from_both(saved, folder, corpus):
    plain, masked = (
        batches.batches(given(saved, folder, mask_probability=share), corpus)
        for share in (0.0, 0.5)
    )
    assert all((batch.labels == -100).all() for batch in plain.at(0))
    assert any((batch.labels != -100).any() for batch in masked.at(0))
    ids = {tuple(row.tolist()) for row in corpus.rows(range(len(corpus)))[0]}
    assert all(
        tuple(row[keep].tolist()) in ids for b in plain.at(0) for row, keep in zip(b.inputs, b.kept)
    )


def test_without_weights_it_is_published_as_it_starts(saved, folder, corpus, tmp_path):
    p = given(saved, folder, weight_hidden=0, weight_attention=0)
    teacher = pretraining.load_teacher(p, corpus)
    before = weights(hops.starting_assistant(p, teacher))
    assistant, history = run(p, corpus, tmp_path, teacher)
    assert history == [] and all(
        torch.equal(before[name], weight) for name, weight in weights(assistant).items()
    )
    assert pretraining.summary(assistant, history)["steps"] == 0


class Killed(Exception):
    pass


def test_a_killed_hop_resumes_bit_for_bit(saved, folder, corpus, tmp_path, monkeypatch):
    """With the dropout of both networks on: it hangs on the step number, as the batches do."""
    p = given(saved, folder, weight_soft=0.5, checkpoint_seconds=1e-9)
    undisturbed, history = run(p, corpus, tmp_path / "a")
    real = loop.checkpoints.save

    def killed_after_five(folder, step, state):
        real(folder, step, state)
        if step == 5:
            raise Killed

    monkeypatch.setattr(loop.checkpoints, "save", killed_after_five)
    with pytest.raises(Killed):
        run(p, corpus, tmp_path / "b")
    monkeypatch.undo()
    resumed, again = run(p, corpus, tmp_path / "b")
    other = weights(resumed)
    assert all(torch.equal(weight, other[name]) for name, weight in weights(undisturbed).items())
    clock = {"seconds": 0, "waited": 0}
    assert [{**row, **clock} for row in again] == [{**row, **clock} for row in history]


def test_an_assistant_is_the_next_teacher(saved, folder, corpus, tmp_path):
    """Published by one hop, loaded by the next, also by a plain library, whose attention is its own
    default again."""
    p = given(saved, folder)
    assistant, _ = run(p, corpus, tmp_path / "a")
    pretraining.save(assistant, corpus.tokenizer(), tmp_path / "model")
    assert "eager" not in (tmp_path / "model/config.json").read_text(encoding="utf-8")
    p = given(str(tmp_path / "model"), folder, layers=2)
    teacher = pretraining.load_teacher(p, corpus)
    assert teacher.config._attn_implementation == "sdpa" and teacher.config.num_hidden_layers == 3
    assert hops.first_teacher(p, teacher, corpus) is teacher
    whole = hops.first_teacher(p.model_copy(update={"first_teacher": saved}), teacher, corpus)
    assert whole.config.num_hidden_layers == 4
    last, history = run(p, corpus, tmp_path / "b", teacher)
    assert (
        last.config.num_hidden_layers == 2
        and {"hidden_2", "attention_2"} <= set(history[0])
        and "hidden_3" not in history[0]
    )


def test_the_probe_masks_words_though_the_hop_does_not(saved, folder):
    found = probes.probe(models.load(saved), given(saved, folder), open_corpus(folder, "held_out"))
    assert found["positions"] > 10 and found["mlm_loss"] > 3


# -------------------------------------------------------------------------------------------- views


def test_tables_of_layers():
    found = stages.layer_targets(given("t", "c", layers=2, mapping="skip", weight_soft=1), 4)
    assert found.to_numpy().tolist() == [["0", "–"], ["2", "2"], ["–", "–"]]
    found = stages.layer_targets(given("t", "c", layers=2), 3)
    assert found.to_numpy().tolist() == [["0 + 1", "–"], ["1 + 2", "1 + 2"], ["2 + 3", "2 + 3"]]
    before = {
        "hidden_0": 0.5,
        "hidden_1": 2.0,
        "attention_1": 0.01,
        "hidden": 2.5,
        "attention": 0.01,
    }
    found = stages.layer_distances(before, before | {"hidden_1": 1.0, "attention_1": 0.001234})
    assert found.loc[1].tolist() == ["2", "1", "0.01", "0.00123"] and found.loc[0].tolist() == [
        "0.5",
        "0.5",
        "–",
        "–",
    ]


def test_figure_of_layers():
    """A line for every loss above 0, named by its layer, on logarithmic scales; of so few steps
    nothing is averaged."""
    history = [
        {
            "step": s,
            "loss": 1,
            "hidden": 1,
            "hidden_0": 0.0,
            "hidden_1": 1 / s,
            "hidden_10": 2 / s,
            "attention": 1,
            "attention_1": 1e-3 / s,
            "attention_10": 3e-3 / s,
        }
        for s in range(1, 9)
    ]
    hidden, attention = stages.layer_losses(history).axes
    assert [text.get_text() for text in hidden.texts] == ["1", "10"]
    assert hidden.lines[0].get_ydata() == pytest.approx(np.log10([1 / s for s in range(1, 9)]))
    assert [tick.get_text() for tick in hidden.get_yticklabels()][:3] == ["0.2", "0.5", "1"]
    assert len(attention.lines) == 2
    only = [{key: value for key, value in row.items() if "attention" not in key} for row in history]
    assert len(stages.layer_losses(only).axes) == 1
