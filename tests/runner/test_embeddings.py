"""An encoder of sentences is measured before it is handed out: fresh processes get the figures of
its card, with transformers and onnxruntime, and with sentence-transformers where that is
installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from lib.common.files import write_json
from lib.plan.stages import validate
from lib.runner import embeddings, export
from lib.training import pretraining
from tests.helpers import small

FRESH = """
import json, sys
import numpy as np, onnxruntime, torch
from transformers import AutoModel, AutoTokenizer
folder, texts, *libraries = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
for library in libraries:
    embeddings = []
    if library == "sentence_transformers":
        from sentence_transformers import SentenceTransformer
        encoder = SentenceTransformer(folder)
    elif library != "transformers":
        session = onnxruntime.InferenceSession(f"{folder}/onnx/{library}.onnx")
    for batch in json.load(open(texts)):
        inputs = tokenizer(batch, padding=True, return_tensors="np")
        mask = inputs["attention_mask"][..., None]
        if library == "sentence_transformers":
            embeddings.append(encoder.encode(batch))
            continue
        if library == "transformers":
            with torch.inference_mode():
                inputs = tokenizer(batch, padding=True, return_tensors="pt")
                states = model(**inputs).last_hidden_state.numpy()
        else:
            inputs = {one.name: inputs[one.name] for one in session.get_inputs()}
            states, = session.run(["last_hidden_state"], inputs)
        embeddings.append((states * mask).sum(1) / mask.sum(1))
    np.save(f"{library}.npy", np.concatenate(embeddings))
assert not [name for name in sys.modules if name.split(".")[0] == "lib"]
"""
LIBRARIES = ["transformers", "model", "model_int8"]
LIBRARIES += ["sentence_transformers"] * bool(find_spec("sentence_transformers"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An encoder written by make export, in fp32 and int8, from a masked language model; and the
    text that it was measured on."""
    place = tmp_path_factory.mktemp("encoder")
    corpus = small.prepare_corpus(place / "corpus")
    tokenizer = corpus.tokenizer()
    pretraining.save(
        small.encoder_for(tokenizer, layers=1, max_length=64), tokenizer, place / "model"
    )
    text = place / "text.txt"
    lines = tokenizer.batch_decode(corpus.rows(range(60))[0], skip_special_tokens=True)
    text.write_text("\n".join(lines), encoding="utf-8")
    options = ["--embeddings=yes", "--int8=yes", f"--text={text}"]
    assert export.main([str(place / "model"), *options]) == 0
    folder = place / "model" / "embeddings"
    figures = json.loads((folder / "embeddings.json").read_text(encoding="utf-8"))
    int8 = json.loads((folder / "onnx/model_int8.json").read_text(encoding="utf-8"))
    pairs = embeddings.pairs_for(place / "model", str(text))
    return SimpleNamespace(folder=folder, figures=figures, int8=int8, pairs=pairs, place=place)


def test_a_fresh_process_gets_the_figures_of_the_card(encoder, tmp_path):
    batches = [
        own[start : start + 64]  # int8 depends on the batch
        for own in (encoder.pairs.first, encoder.pairs.second)
        for start in range(0, len(own), 64)
    ]
    texts = write_json(tmp_path / "texts.json", batches)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-W", "ignore", "-c", FRESH, str(encoder.folder), str(texts)]
    done = subprocess.run(
        [*command, *LIBRARIES], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    card = (encoder.folder / "README.md").read_text(encoding="utf-8")
    plain, (row,) = np.load(tmp_path / "transformers.npy"), encoder.int8["scores"]
    for library in LIBRARIES:
        both = np.load(tmp_path / f"{library}.npy")
        score = embeddings.contributions(encoder.pairs, *np.split(both, 2)).mean()
        expected = row["int8"] if library == "model_int8" else encoder.figures["value"]
        assert score == pytest.approx(expected, abs=1e-6) and f"{score:.1f} [" in card
        assert library == "model_int8" or np.abs(both - plain).max() < 1e-5
    assert card.startswith("---\nlibrary_name: sentence-transformers\n") and "# model: emb" in card
    assert "SentenceTransformer(" in card and "InferenceSession(" in card


def test_the_folder_is_what_sentence_transformers_documents(encoder):
    read = lambda name: json.loads((encoder.folder / name).read_text(encoding="utf-8"))  # noqa: E731
    assert [(one["path"], one["type"].rpartition(".")[2]) for one in read("modules.json")] == [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
    ]
    pooling = read("1_Pooling/config.json")
    assert pooling.pop("word_embedding_dimension") == read("config.json")["hidden_size"] == 16
    assert [name for name, on in pooling.items() if on] == ["pooling_mode_mean_tokens"]
    assert read("sentence_bert_config.json")["max_seq_length"] == 64
    assert encoder.figures["onnx_cosine"] > 1 - 1e-6 and encoder.figures["onnx_difference"] < 1e-4
    assert encoder.figures["ends"][0] < encoder.figures["value"] < encoder.figures["ends"][1]
    above = (encoder.folder.parent / "README.md").read_text(encoding="utf-8")
    assert "`embeddings/` is the encoder alone" in above


def test_a_task_of_likeness_is_measured_where_the_model_was_fine_tuned_on_one(encoder, tmp_path):
    frame = pd.DataFrame({"a": encoder.pairs.first, "b": encoder.pairs.second})
    frame["label"] = np.linspace(0, 5, len(frame))
    for split in ("train", "validation"):
        (tmp_path / "alike").mkdir(exist_ok=True)
        frame.to_csv(tmp_path / f"alike/{split}.csv", index=False)
    own = {"files": str(tmp_path / "alike"), "kind": "regression", "text": ["a", "b"]}
    values = {"tasks": ["alike"], "own_tasks": {"alike": own}, "seeds": [1], "learning_rate": 1}
    p = validate("finetune", values | {"model": "none"})
    for name in ("distillation", "finetune"):
        (tmp_path / name).mkdir()
    (tmp_path / "distillation/model").symlink_to(encoder.folder.parent)
    write_json(tmp_path / "finetune/result.json", {"parameters": p.model_dump(mode="json")})
    pairs = embeddings.pairs_for(tmp_path / "distillation/model")
    assert pairs.score == "Spearman correlation with the labels of alike"
    first, second = np.random.default_rng(0).normal(size=(2, len(pairs.first), 8))
    cosines = (
        (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    )
    expected = 100 * spearmanr(cosines, pairs.labels)[0]
    assert embeddings.contributions(pairs, first, second).mean() == pytest.approx(expected)
