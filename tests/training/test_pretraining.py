"""Starting teachers and students from parameters, growing, probing: on a small prepared corpus."""

import copy
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from lib.common.errors import InputError
from lib.data.prepared import open_corpus
from lib.data.tokenizer import load_tokenizer
from lib.plan.stages import validate
from lib.training import batches, models, pretraining, probes, side_by_side
from lib.training.architectures import ARCHITECTURES
from lib.training.loop import Recipe, train
from tests.helpers import small

SHAPE = {
    "layers": 4,
    "hidden": 16,
    "heads": 2,
    "intermediate": 32,
    "dropout": 0.0,
    "learning_rate": 1e-3,
    "batch_size": 8,
    "micro_batch_size": 8,
    "steps": 3,
}


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    return small.prepare_corpus(tmp_path_factory.mktemp("bpe"), tokenizer="train:herbert_bpe")


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory):
    return small.prepare_corpus(tmp_path_factory.mktemp("wordpiece"))


@pytest.fixture(scope="module")
def teacher(bpe, tmp_path_factory):
    """A saved teacher with the tokenizer of `bpe`."""
    folder = tmp_path_factory.mktemp("teacher")
    p = validate("teacher_continuation", {"corpus": str(bpe.folder), **SHAPE})
    pretraining.save(pretraining.starting_teacher(p, bpe), bpe.tokenizer(), folder)
    return str(folder)


def distillation(teacher, corpus, **more):
    return validate(
        "distillation",
        {
            "teacher": teacher,
            "corpus": str(corpus.folder),
            "student_layers": [0, 2],
            "learning_rate": 1e-3,
            "steps": 2,
            "batch_size": 8,
            "micro_batch_size": 8,
        }
        | more,
    )


def test_padding_and_masks_follow_the_tokenizer(bpe, wordpiece):
    """HerBERT pads with 1 and masks with 4, BERT with 0 and 4: neither may be taken for granted."""
    p = distillation("", bpe)
    for found, pad_id in ((bpe, 1), (wordpiece, 0)):
        data = batches.batches(p, found)
        batch = data.at(0)[0]
        assert data.pad_id == pad_id and (batch.inputs[~batch.kept] == pad_id).all()
        assert (
            batch.kept[:, 0].all()
            and int(batch.kept.sum()) == found.lengths[data.schedule.indices(0)[0]].sum()
        )
        tokenizer = found.tokenizer()
        masked = batch.labels[batch.labels >= 0]
        assert not {tokenizer.cls_token_id, tokenizer.sep_token_id, pad_id} & set(masked.tolist())


def test_rare_tokens_are_masked_more_often(teacher, wordpiece):
    """The weights are those of the corpus's counts, the number of masks is exact, and the share of
    a token's occurrences that are masked falls with its count, about as its power of -0.7."""
    tokenizer = wordpiece.tokenizer()
    ids = np.concatenate(wordpiece.rows(range(len(wordpiece)))[0])
    counts = np.bincount(ids, minlength=len(tokenizer))
    assert np.array_equal(wordpiece.token_counts(len(tokenizer)), counts)
    p = distillation(teacher, wordpiece, mask_smoothing=0.7, whole_words=False)
    data = batches.batches(p, wordpiece, steps=300)
    assert np.allclose(data.weights, np.maximum(counts, 1) ** -0.7)
    masked, seen = np.zeros(len(tokenizer)), np.zeros(len(tokenizer))
    for step in range(300):
        (batch,) = data.at(step)
        labels = batch.labels[batch.labels != batches.IGNORE].numpy()
        assert len(labels) == math.ceil(0.15 * int(batch.kept.sum()))
        masked += np.bincount(labels, minlength=len(tokenizer))
        read = np.concatenate(wordpiece.rows(data.schedule.indices(step)[0])[0])
        seen += np.bincount(read, minlength=len(tokenizer))
    common = (counts >= 5) & (masked > 0)
    slope = np.polyfit(np.log(counts[common]), np.log(masked[common] / seen[common]), 1)[0]
    assert common.sum() > 10 and -0.7 < slope < -0.5  # less than 0.7: a batch runs out of some
    with pytest.raises(InputError, match="mask_smoothing 0.7 chooses token by token"):
        distillation(teacher, wordpiece, mask_smoothing=0.7)


def test_tokenizers_that_differ_are_refused(teacher, wordpiece):
    with pytest.raises(InputError, match="teacher .* corpus") as error:
        pretraining.load_teacher(distillation(teacher, wordpiece), wordpiece)
    assert "\n" not in str(error.value)


def test_a_model_that_is_not_there_yet(bpe):
    with pytest.raises(
        InputError, match="outputs/none/model: no model there; run the stage that makes it first"
    ):
        pretraining.load_teacher(distillation("outputs/none/model", bpe), bpe)


def test_students_start_as_their_scenario_says(teacher, bpe):
    loaded = models.load(teacher)
    truncated = pretraining.starting_student(distillation(teacher, bpe), loaded)
    random = pretraining.starting_student(distillation(teacher, bpe, init="random"), loaded)
    assert models.parameter_count(truncated) == models.parameter_count(random)
    embeddings = [m.bert.embeddings.word_embeddings.weight for m in (loaded, truncated, random)]
    assert torch.equal(embeddings[0], embeddings[1]) and not torch.equal(
        embeddings[0], embeddings[2]
    )
    for init in ("random", "truncated"):
        with pytest.raises(InputError, match="layers 0 … 3"):
            pretraining.starting_student(
                distillation(teacher, bpe, init=init, student_layers=[0, 4]), loaded
            )


def test_without_a_weight_nothing_is_trained(teacher, bpe, tmp_path):
    student = pretraining.starting_student(distillation(teacher, bpe), models.load(teacher))
    before = copy.deepcopy(student.state_dict())
    p = distillation(teacher, bpe)
    objective = pretraining.objective(p, student, models.load(teacher))
    assert side_by_side.train_student(p, objective, bpe, tmp_path) == ([], {})
    assert all(torch.equal(before[name], weight) for name, weight in student.state_dict().items())


def test_growth_goes_on_where_it_was_stopped(bpe, tmp_path):
    """A teacher killed in its second phase does not train its first again, and ends with the same
    weights."""
    p = validate(
        "teacher_continuation",
        {
            "corpus": str(bpe.folder),
            **SHAPE,
            "grow_from_layers": 2,
            "grow_steps": 3,
            "checkpoint_seconds": 1e-9,
        },
    )
    whole, history = pretraining.train_teacher(
        p, pretraining.starting_teacher(p, bpe), bpe, tmp_path / "a"
    )
    assert whole.config.num_hidden_layers == 4 and [row["step"] for row in history] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert history[-1]["tokens"] > history[2]["tokens"]

    real, calls = pretraining.train, []

    def stopped(*args, **kwargs):
        calls.append(kwargs["folder"].name)
        if calls[-1] == "whole":
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    pretraining.train = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            pretraining.train_teacher(p, pretraining.starting_teacher(p, bpe), bpe, tmp_path / "b")
    finally:
        pretraining.train = real
    assert calls == ["shallow", "whole"]
    again, more = pretraining.train_teacher(
        p, pretraining.starting_teacher(p, bpe), bpe, tmp_path / "b"
    )
    assert [row["loss"] for row in more] == [row["loss"] for row in history]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))


def test_probe_and_fill_mask(teacher, bpe):
    p, held_out = distillation(teacher, bpe), open_corpus(bpe.folder, "held_out")
    found = probes.probe(models.load(teacher), p, held_out)
    assert found == probes.probe(models.load(teacher), p, held_out)  # the same masks every time
    assert found["mlm_loss"] > 3 and 0 <= found["mlm_accuracy"] <= 100 and found["positions"] > 10
    guesses = pretraining.fill_mask(models.load(teacher), bpe.tokenizer(), held_out, examples=3)
    assert len(guesses) == 3 and guesses["text"].str.contains("<mask>").all()


def test_a_student_without_the_head_learns_and_is_measured_without_it(teacher, bpe, tmp_path):
    """As the code of 000: the head stays its teacher's, and guesses are made without it."""
    weights = {"weight_mlm": 1 / 3, "weight_soft": 1 / 12, "weight_cosine": 1 / 3}
    switches = {"positions": "masked", "cosine_of": "logits", "mlm_head": False}
    p = distillation(teacher, bpe, steps=40, learning_rate=1e-2, **weights, **switches)
    loaded = pretraining.load_teacher(p, bpe)
    student = pretraining.starting_student(p, loaded)
    held_out = open_corpus(bpe.folder, "held_out")
    before = probes.probe(student, p, held_out)
    history = side_by_side.train_student(
        p, pretraining.objective(p, student, loaded), bpe, tmp_path
    )[0]
    after = probes.probe(student, p, held_out)
    assert history[-1]["mlm"] < history[0]["mlm"] and after["mlm_loss"] < before["mlm_loss"]
    heads = (model.cls.predictions.transform.state_dict() for model in (student, loaded))
    assert all(torch.equal(a, b) for a, b in zip(*(head.values() for head in heads)))
    with_head = p.model_copy(update={"mlm_head": True})
    assert probes.probe(student, with_head, held_out)["mlm_loss"] != after["mlm_loss"]
    guesses = [
        pretraining.fill_mask(student, bpe.tokenizer(), held_out, examples=3, mlm_head=head)
        for head in (True, False)
    ]
    assert len(guesses[1]) == 3 and not guesses[0].equals(guesses[1])


def test_fp16_without_a_gpu(teacher, bpe, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    p = distillation(teacher, bpe, weight_mlm=1, precision="fp16")
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        objective = pretraining.objective(p, models.load(teacher), None)
        side_by_side.train_student(p, objective, bpe, tmp_path)


def test_one_kernel_may_use_several_precisions(teacher, bpe):
    for precision in ("bf16", "no", "bf16"):
        p = distillation(teacher, bpe, weight_mlm=1)
        from lib.training.objectives import Distillation

        train(
            Distillation(models.load(teacher)),
            batches.batches(p, bpe),
            Recipe(1e-3, precision=precision),
            quiet=True,
        )


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_cut_vocabulary_changes_no_logit(kind, tied, bpe, tmp_path):
    """Of a model whose vocabulary is padded to a round size, as plain transformers loads it."""
    tokenizer = bpe.tokenizer()
    size = len(tokenizer) + 4
    whole = small.of_kind(kind, vocab_size=size, tie_word_embeddings=tied)
    p = distillation("", bpe, vocabulary=60)
    model, cut = pretraining.cut_to_text(p, whole, tokenizer, bpe)
    pretraining.save(model, cut, tmp_path)
    plain, words = AutoModelForMaskedLM.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    assert plain.config.vocab_size == len(words) == len(cut) < 0.8 * size
    decoder, embeddings = plain.get_output_embeddings(), plain.get_input_embeddings()
    assert (decoder.weight is embeddings.weight) is tied and len(decoder.bias) == len(cut)
    assert models.parameter_count(plain) < models.parameter_count(whole)
    kept = tokenizer.convert_tokens_to_ids(words.convert_ids_to_tokens(range(len(words))))
    ids = torch.randint(len(words), (2, 12), generator=torch.Generator().manual_seed(1))
    ids[0, 9:] = words.pad_token_id
    mask = (ids != words.pad_token_id).long()
    with torch.inference_mode():
        ours = plain.eval()(input_ids=ids, attention_mask=mask).logits
        theirs = whole(input_ids=torch.tensor(kept)[ids], attention_mask=mask).logits
    assert torch.allclose(ours[mask.bool()], theirs[..., kept][mask.bool()], rtol=0, atol=1e-6)


def test_a_vocabulary_is_cut_to_the_corpus_count_or_not_at_all(teacher, bpe):
    model, tokenizer = models.load(teacher), bpe.tokenizer()
    assert pretraining.cut_to_text(distillation("", bpe), model, tokenizer, bpe)[0] is model
    sizes = [
        len(pretraining.cut_to_text(distillation("", bpe, vocabulary=v), model, tokenizer, bpe)[1])
        for v in (20, 100, "corpus")
    ]
    assert sizes == sorted(set(sizes)) and sizes[-1] <= len(tokenizer)
    for wrong in ("text", 0, -3, 1.5):
        with pytest.raises(InputError, match="vocabulary.* allowed are corpus .*, a whole number"):
            distillation("", bpe, vocabulary=wrong)
