"""Int8 files are measured before they are handed out: a fresh process with onnxruntime alone gets
the figures of the model card, and a model that loses too much is refused, with the figure."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.common.files import write_json
from lib.data.tokenizer import train_tokenizer
from lib.plan.stages import validate
from lib.report.results import EXAMPLES
from lib.runner import evidence, export, int8, kept
from lib.tasks import finetune as ft
from lib.tasks.encoding import by_length
from lib.training import pretraining
from lib.training.batches import IGNORE, Batch
from tests.helpers import small

FRESH = """
import json, sys
import numpy as np, onnxruntime
folder, files = sys.argv[1], sys.argv[2:]
guesses, labels = {"model": [], "model_int8": []}, []
for file in files:
    batch = np.load(file)
    labels.append(batch["labels"])
    for name, guessed in guesses.items():
        session = onnxruntime.InferenceSession(f"{folder}/onnx/{name}.onnx")
        logits, = session.run(None, {one.name: batch[one.name] for one in session.get_inputs()})
        guessed.append(logits[batch["chosen"]].argmax(-1))
labels, fp32, int8 = map(np.concatenate, (labels, *guesses.values()))
shares = [100 * float(np.mean(same)) for same in (fp32 == labels, int8 == labels, fp32 == int8)]
print(json.dumps([shares, [name for name in sys.modules if name.split(".")[0] in ("lib", "torch")]]))
"""


def measured_afresh(folder, batches: list[tuple[Batch, torch.Tensor]], place) -> list[float]:
    """Percent right in fp32, in int8, and alike, by a process that has onnxruntime, the files and
    these batches: each with the positions, or examples, that are guessed."""
    files = []
    for batch, chosen in batches:
        segments = torch.zeros_like(batch.inputs) if batch.segments is None else batch.segments
        labels = batch.labels[chosen] if batch.labels.dim() > 1 else batch.labels
        values = {"input_ids": batch.inputs, "attention_mask": batch.kept.long()}
        values |= {"token_type_ids": segments, "chosen": chosen, "labels": labels}
        files.append(str(place / f"{len(files)}.npz"))
        np.savez(files[-1], **values)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", FRESH, str(folder), *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place)
    assert done.returncode == 0, done.stderr
    shares, ours = json.loads(done.stdout)
    assert ours == []
    return shares


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A masked language model that follows its embeddings, and text."""
    place = tmp_path_factory.mktemp("pretrained")
    corpus = small.prepare_corpus(place / "corpus")
    tokenizer = corpus.tokenizer()
    model = small.encoder_for(tokenizer, layers=1, max_length=64)
    pretraining.save(model, tokenizer, place / "model")
    text = place / "text.txt"
    lines = tokenizer.batch_decode(corpus.rows(range(60))[0], skip_special_tokens=True)
    text.write_text("\n".join(lines), encoding="utf-8")
    made = {"folder": place / "model", "model": model, "tokenizer": tokenizer, "text": text}
    return SimpleNamespace(**made, corpus=str(place / "corpus"))


def test_a_pretrained_model_guesses_what_its_card_says(pretrained, tmp_path, capsys):
    folder = pretrained.folder
    (folder / "README.md").write_text("# A card\n\n## Limits\n\n- some\n", encoding="utf-8")
    assert export.main([str(folder), "--int8=yes", f"--text={pretrained.text}"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    figures = json.loads((folder / "onnx/model_int8.json").read_text(encoding="utf-8"))
    (row,), costs = figures["scores"], figures["costs"]
    assert f"agree in {figures['agreement']:.1f} %" in line
    assert costs["int8"]["mib"] < costs["fp32"]["mib"]

    with evidence.unseen_text(folder, str(pretrained.text)) as (name, corpus):
        batches = [(batch, batch.labels != IGNORE) for batch in int8.masked(folder, corpus)]
    assert name in row["score"] and row["fp32_ends"][0] < row["fp32"] < row["fp32_ends"][1]
    shares = measured_afresh(folder, batches, tmp_path)
    assert shares == pytest.approx([row["fp32"], row["int8"], figures["agreement"]], abs=0.5)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| {row['fp32']:.1f} [" in text and f"| {row['int8']:.1f} [" in text
    assert f"| {figures['agreement']:.1f} |" in text
    assert text.index("## Files") < text.index("## Limits") and text.count("- some") == 1


def test_a_model_built_to_lose_is_refused(pretrained, tmp_path, capsys):
    """One huge weight of a token that no text has leaves no step of int8 for the other embeddings,
    which have one scale. It is measured on the text held out by the stage that made the model."""
    model, unused = pretrained.model, pretrained.tokenizer.cls_token_id
    model.bert.embeddings.word_embeddings.weight.data[unused, 0] = 50
    model.cls.predictions.bias.data[unused] = -100  # nor is it guessed
    folder = tmp_path / "model"
    pretraining.save(model, pretrained.tokenizer, folder)
    write_json(tmp_path / "result.json", {"parameters": {"corpus": pretrained.corpus}})
    assert export.main([str(tmp_path), "--int8=yes"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "int8 was not written" in error and "(needed: 90)" in error
    assert 'KEEP="embeddings head"' in error
    files = sorted(path.name for path in (folder / "onnx").iterdir())
    assert files == ["model.json", "model.onnx"]
    path, figures = int8.export(folder, folder / "onnx/model.onnx", keep=["embeddings"])
    assert path.is_file() and figures["agreement"] >= 90
    assert "with the embeddings in fp32" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """The folder of a fine-tuning that kept its models."""
    place = tmp_path_factory.mktemp("finetuned")
    words = np.random.default_rng(0).permutation("a b c d e f g h i j".split() * 8)
    texts = [
        " ".join(["good" if i % 2 else "bad", *words[i % 60 : i % 60 + 4]]) for i in range(120)
    ]
    frame = pd.DataFrame({"text": texts, "label": [i % 2 for i in range(120)]})
    (place / "mood").mkdir()
    frame[:80].to_csv(place / "mood/train.csv", index=False)
    frame[80:].to_csv(place / "mood/validation.csv", index=False)
    tokenizer = train_tokenizer(texts, "wordpiece", 200)
    small.save_trunk("bert", tokenizer, place / "encoder", layers=1, hidden=32, max_length=64)
    values = {"tasks": ["mood"], "own_tasks": {"mood": {"files": str(place / "mood")}}}
    values |= {"seeds": [1, 2], "learning_rate": 5e-3, "epochs": 2, "batch_size": 8}
    values |= {"max_length": 16, "keep_models": True, "model": str(place / "encoder")}
    p = validate("finetune", values)
    ft.finetune_tasks(p, place / "stage")
    result = {"stage": "finetune", "parameters": p.model_dump(mode="json")}
    write_json(place / "stage/result.json", result)
    return place / "stage"


def test_a_fine_tuned_model_scores_what_its_card_says(finetuned, tmp_path, capsys):
    assert export.main([str(finetuned), "--int8=yes", "--task=mood"]) == 0
    folder = finetuned / "models/mood-1"
    (row,) = json.loads((folder / "onnx/model_int8.json").read_text())["scores"]
    assert row["score"] == "mood, und, accuracy" and row["examples"] == 40 and row["fp32"] > 70
    rows = pd.read_parquet(finetuned / "predictions.parquet")
    assert row["fp32"] == pytest.approx(rows[rows["seed"] == 1]["score"].mean())

    p = ft.settled(
        validate("finetune", json.loads((finetuned / "result.json").read_text())["parameters"])
    )
    _, validation = ft.read_data(p, ["mood"], ft.load_encoder(p)[1], segments=True)
    (data,) = validation["mood"].values()
    batches = [data.batch(indices) for indices in by_length(data.rows, 256)]
    batches = [(batch, torch.ones(len(batch.labels), dtype=torch.bool)) for batch in batches]
    fp32, quantised, _ = measured_afresh(folder, batches, tmp_path)
    assert (fp32, quantised) == pytest.approx((row["fp32"], row["int8"]))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"(40 examples) | {fp32:.1f} [" in card and f"] | {quantised:.1f} [" in card

    # what the report measures is the same
    result = json.loads((finetuned / "result.json").read_text())
    result["parameters"]["output_dir"] = str(finetuned)
    # the second and the same again, whose weights are put into the first's file
    (scores, costs), (again, _), nothing = kept.in_int8(
        [(result, {"mood"}), (result, {"mood"}), (result, {"another"})]
    )
    assert nothing is None and again["value"].equals(scores["value"])
    assert list(scores["value"]) == pytest.approx([row["int8"]])
    assert list(scores["seed"]) == [1]
    assert scores[EXAMPLES][0].mean() == pytest.approx(row["int8"]) and set(costs) >= {"int8"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--int8=maybe"], "INT8=maybe: allowed are yes and no"),
        (["--embeddings=so"], "EMBEDDINGS=so: allowed are yes and no"),
        (["--embeddings=yes", "--keep=head"], "KEEP=head: allowed are embeddings"),
        (["--int8=yes", "--keep=layers"], "KEEP=layers: allowed are embeddings and head"),
        (["--int8=yes", "--max-loss=much"], "MAX_LOSS=much: allowed are 0 to 100 points"),
        (["--int8=yes", "--task=mood"], "is fine-tuned on no task; leave TASK out"),
        (["--int8=yes"], "as in TEXT=/path/to/text"),
    ],
)
def test_what_is_not_allowed_gets_one_line(pretrained, arguments, message, capsys):
    assert export.main([str(pretrained.folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


def test_an_unknown_task_gets_one_line(finetuned, capsys):
    assert export.main([str(finetuned), "--task=names"]) == 2
    assert f"TASK=names: allowed for {finetuned} are mood" in capsys.readouterr().err
