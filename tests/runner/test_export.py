"""A model that a stage publishes is complete: a fresh process with plain transformers loads it and
predicts the same, and so does ONNX. The stages are the real ones: the notebooks' own cells, at a
size of seconds."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data.tokenizer import train_tokenizer
from lib.plan.stages import KINDS
from lib.runner import export
from tests.helpers import small
from tests.helpers.project import run_make

SHAPE = {"layers": 4, "hidden": 16, "heads": 2, "intermediate": 32, "initializer_range": 0.2}
SIZE = {
    "learning_rate": 1e-2,
    "steps": 2,
    "epochs": 1.0,
    "batch_size": 8,
    "micro_batch_size": 4,
    "threads": 1,
}
TEXTS = ["Ala ma kota i psa.", "Nie.", "A to jest zdanie, które jest dłuższe niż inne, naprawdę!"]

FRESH = """
import json, logging, sys, warnings
import numpy as np, torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("transformers").addHandler(handler)
warnings.showwarning = lambda message, *rest: said.append(str(message))
warnings.simplefilter("always")
found = {}
for folder in sys.argv[2:]:
    model, about = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model.eval()(**tokenizer(json.loads(sys.argv[1]), padding=True, return_tensors="pt")).logits
    np.save(folder + ".npy", logits.numpy())
    guess = pipeline("fill-mask", folder)(f"Ala ma {tokenizer.mask_token}.")
    found[folder] = {
        "about": {key: sorted(value) for key, value in about.items()},
        "class": type(model).__name__, "dtype": str(model.dtype), "max_length": tokenizer.model_max_length,
        "positions": model.config.max_position_embeddings, "size": len(tokenizer), "vocabulary": model.config.vocab_size,
        "tied": model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        "special": [tokenizer.pad_token, tokenizer.mask_token, tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token],
        "pad": [tokenizer.pad_token_id, model.config.pad_token_id], "mask": tokenizer.mask_token_id, "guesses": len(guess),
        "ids": tokenizer(json.loads(sys.argv[1]))["input_ids"],
    }
print(json.dumps({"found": found, "said": said, "ours": [name for name in sys.modules if name.split(".")[0] == "lib"]}))
"""


def stage(kind: str, folder, **values) -> SimpleNamespace:
    """Run the code of a notebook's cells with these parameters; what its names stand for in the
    end."""
    cells = nbformat.read(ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb", as_version=4).cells
    names: dict = {}
    for cell in cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {**values, "output_dir": str(folder)}
    return SimpleNamespace(folder=folder / "model", **names)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A teacher and its student with HerBERT's kind of tokenizer, and a teacher assistant with
    BERT's."""
    place, made = tmp_path_factory.mktemp("models"), {}
    for kind, next_stage, own in (
        ("herbert_bpe", "distillation", {"student_layers": [0, 2], "precision": "bf16"}),
        ("wordpiece", "cascade_ta", {"layers": 3, "section": 0}),
    ):
        text = str(place / f"text {kind}")
        small.prepare_corpus(text, tokenizer=f"train:{kind}")
        teacher = stage(
            "teacher_continuation",
            place / f"teacher {kind}",
            teacher="",
            corpus=text,
            **SHAPE,
            **SIZE,
        )
        made[f"teacher {kind}"] = SimpleNamespace(folder=teacher.folder, model=teacher.model)
        taught = stage(
            next_stage, place / kind, teacher=str(teacher.folder), corpus=text, **(SIZE | own)
        )
        model = taught.student if next_stage == "distillation" else taught.assistant
        made[kind] = SimpleNamespace(folder=taught.folder, model=model)
    return made


@pytest.fixture(scope="module")
def fresh(published, tmp_path_factory):
    """What a process says that knows nothing of this project."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "info"}
    folders = [str(one.folder) for one in published.values()]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(TEXTS), *folders],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ours"] == []
    return found


def test_it_loads_whole_and_without_a_word(published, fresh):
    words = (
        "not used",
        "newly initialized",
        "missing",
        "unexpected",
        "mismatch",
        "deprecated",
        "You should probably TRAIN",
    )
    assert not [line for line in fresh["said"] if any(word in line for word in words)]
    for name, one in published.items():
        found = fresh["found"][str(one.folder)]
        assert not any(found["about"].values()), name
        assert (found["class"], found["dtype"], found["tied"]) == (
            "BertForMaskedLM",
            "torch.float32",
            True,
        )
        assert (
            found["max_length"] == found["positions"] == 512
            and found["size"] == found["vocabulary"]
        )
        assert found["pad"][0] == found["pad"][1] and found["mask"] == 4 and found["guesses"] == 5
        specials = ["<pad>", "<mask>", "<unk>", "<s>", "</s>"]
        assert found["special"] == (
            specials if "herbert" in name else ["[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]"]
        )


def test_it_predicts_the_same_logits(published, fresh):
    """Those of the weights as they were trained, to 1e-6; and of what trained them, which
    multiplies in another order, to 1e-5."""
    for one in published.values():
        tokenizer = AutoTokenizer.from_pretrained(one.folder)
        assert tokenizer(TEXTS)["input_ids"] == fresh["found"][str(one.folder)]["ids"]
        inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
        plain = BertForMaskedLM(BertConfig.from_pretrained(one.folder)).eval()
        plain.load_state_dict(one.model.state_dict())
        theirs = torch.from_numpy(np.load(f"{one.folder}.npy"))
        with torch.inference_mode():
            assert (plain(**inputs).logits - theirs).abs().max() <= 1e-6
            assert (one.model.eval()(**inputs).logits - theirs).abs().max() < 1e-5


def test_what_lies_in_the_folder(published):
    for one in published.values():
        assert {path.name for path in one.folder.iterdir() if path.is_file()} == {
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "README.md",
        }
        modes = {path.stat().st_mode for path in one.folder.iterdir() if path.is_file()}
        assert len(modes) == 1  # whoever may read the configuration may read the weights
        config = json.loads((one.folder / "config.json").read_text())
        assert config["architectures"] == ["BertForMaskedLM"] and config[
            "num_hidden_layers"
        ] == len(one.model.bert.encoder.layer)
        assert "lib" not in json.dumps(config) and "attn" not in json.dumps(config)
        tokenizer = json.loads((one.folder / "tokenizer_config.json").read_text())
        assert not {"is_local", "local_files_only", "name_or_path"} & set(tokenizer)
        card = (one.folder / "README.md").read_text(encoding="utf-8")
        assert (
            "Not measured yet" in card
            and "a stage run by hand" in card
            and str(one.folder.parent.parent) not in card
        )


# --------------------------------------------------------------------------------------------- ONNX


@pytest.mark.parametrize(
    "kind, inputs", [("herbert_bpe", export.INPUTS[:2]), ("wordpiece", export.INPUTS)]
)
def test_onnx_agrees(published, kind, inputs, capsys):
    """ONNX takes what the tokenizer beside it gives, any number of texts of any length, and gives
    PyTorch's logits to 1e-4."""
    import onnxruntime

    folder = published[kind].folder
    assert export.main([str(folder.parent)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(export.SHAPES) + 1 and "of PyTorch (allowed: 0.0001)" in printed[-1]
    files = sorted(path.name for path in (folder / "onnx").iterdir())
    assert files == ["model.json", "model.onnx"]
    assert str(export.places.ROOT).encode() not in (folder / "onnx/model.onnx").read_bytes()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "InferenceSession(" in card and "of PyTorch in every logit" in card

    session = onnxruntime.InferenceSession(
        folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        (name, "tensor(int64)", ["batch", "length"]) for name in inputs
    ]
    model, tokenizer = (
        AutoModelForMaskedLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    for texts in (TEXTS, TEXTS[:1], ["Ala " * 120]):
        (theirs,) = session.run(
            ["logits"], dict(tokenizer(texts, padding=True, return_tensors="np"))
        )
        with torch.inference_mode():
            ours = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 1e-4


def test_a_model_that_does_not_agree_is_not_written(published, monkeypatch):
    folder = published["teacher wordpiece"].folder
    monkeypatch.setattr(export, "write", lambda model, names, path: path.write_bytes(b"half"))
    monkeypatch.setattr(export, "largest_differences", lambda *given: {(1, 1): 2e-4})
    for found in (2e-4, float("nan")):
        monkeypatch.setattr(export, "largest_differences", lambda *given: {(1, 1): found})
        with pytest.raises(
            InputError, match="differ by (2.0e-04|nan) in an output; allowed is less than 0.0001"
        ):
            export.export(folder)
        assert not (folder / "onnx").exists()
    monkeypatch.setattr(export, "largest_differences", lambda *given: {(1, 1): 9e-5})
    path, _ = export.export(folder)
    assert path.read_bytes() == b"half"
    monkeypatch.setattr(export, "largest_differences", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.export(folder)
    assert path.is_file()  # the one before stays


def test_make_passes_the_model_on():
    recipe = run_make(ROOT, "-n", "export", "MODEL=a folder/model").stdout
    assert 'python -W ignore -m lib.runner.export "a folder/model" --embeddings=' in recipe


@pytest.mark.parametrize("given", ["", "params", "outputs/none/at/all", "lib/runner/export.py"])
def test_what_is_no_model_gets_one_line(given, capsys):
    assert export.main([given]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(
        f"error: MODEL={given}: no model there; give the folder of a stage that made one"
    )


def test_a_model_of_another_kind_gets_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "none of these"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert export.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot be loaded as a masked language model" in said


def test_a_fine_tuned_model_without_an_mlm_head_gets_one_line(tmp_path, capsys):
    """The library would make up a head; encoders alone are what fine-tunings keep."""
    tokenizer = train_tokenizer(["some words"] * 3, "wordpiece", 100)
    small.save_trunk("distilbert", tokenizer, tmp_path, layers=1, hidden=16, max_length=32)
    assert export.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: model ") and "lacks" in said
    assert not (tmp_path / "onnx").exists()
