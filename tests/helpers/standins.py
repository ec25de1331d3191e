"""Stand-ins for everything that the scales `paper`, `gpuday` and `mini` read from the hub: the same
files, columns, splits, keys, features of tokenizers and special ids, with tiny random models and a
few made-up records, some 10 MB.

`build(folder, languages)` writes <folder>/models/<id>/<revision> and
<folder>/datasets/<id>/<revision>, which tests/helpers/mirror.py serves. The revision `pinned`
stands for any commit.
"""

import json
import random
from pathlib import Path

from lib.data.tokenizer import train_tokenizer
from lib.data.toy import tasks
from lib.data.toy.corpora import corpus_lines
from lib.tasks.registry import TASKS

LAYERS, HIDDEN, HEADS = 12, 48, 12
"""As many layers as the real ones, for every choice of layers in the papers, but narrow."""
TOY = {
    "pl": "toy-pl",
    "en": "toy-en",
    "es": "toy-es",
    "de": "toy-de",
    "zh": "toy-zh",
    "ar": "toy-ar",
    "ur": "toy-ur",
}
SCRIPTS = {"ar": 0x0627, "ur": 0x0679, "hi": 0x0905, "ru": 0x0430, "th": 0x0E01, "el": 0x03B1}
XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh".split()


def build(folder: Path, languages: list[str]) -> None:
    """Write all stand-ins. `languages` are those of Wikipedia."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    models(folder / "models")
    corpora(folder / "datasets", languages)
    glue(folder / "datasets/nyu-mll/glue/pinned")
    squad(folder / "datasets/rajpurkar/squad/pinned")
    xnli(folder / "datasets/facebook/xnli/pinned")
    for name in ("nkjp-ner", "polemo2-in", "polemo2-out"):
        klej(folder / f"datasets/allegro/klej-{name}/pinned", name)


# --------------------------------------------------------------------------------------------- text


def lines(language: str, number: int, seed: int = 0, corpus: str = "gazette") -> list[str]:
    """Made-up text of a language, in its own script where that is none of the Latin ones."""
    toy = TOY.get(language, "toy-en")
    return [written(text, language) for text in corpus_lines(toy, corpus, number, seed)]


def written(text: str, language: str) -> str:
    """A line in the letters of a language: Han without spaces, other scripts letter for letter."""
    if language in ("zh", "ja"):
        words = text.split()
        return (
            "".join(word if word in ",.?" else _han(word) for word in words)
            .replace(",", "，")
            .replace(".", "。")
        )
    first = SCRIPTS.get(language)
    if first is None:
        return text
    return "".join(
        chr(first + (ord(c) - 97) % 25) if c.isalpha() and c.islower() else c for c in text.lower()
    )


def _han(word: str) -> str:
    rng = random.Random(word)
    return "".join(chr(0x4E00 + rng.randrange(400)) for _ in range(rng.randint(1, 2)))


def article(language: str, rng: random.Random, title: str) -> str:
    """An article as wikimedia/wikipedia has it: passages, a section's heading, a list, blank lines
    between them."""
    text = lines(language, 6, rng.randrange(10**6))
    return "\n\n".join(
        [
            *text[:3],
            "Zobacz też" if language == "pl" else "History",
            *text[3:],
            f"* {title}\n* {text[0][:20]}",
        ]
    )


# ------------------------------------------------------------------------------------------- models


def models(folder: Path) -> None:
    """The six models, each with its own tokenizer's kind."""
    polish, english = lines("pl", 600, corpus="web"), lines("en", 600)
    many = [line for language in (*TOY, "ru", "hi", "th", "el") for line in lines(language, 80)]
    herbert(folder / "allegro/herbert-base-cased", train_tokenizer(polish, "herbert_bpe", 900))
    for name, text, cased in (
        ("bert-base-uncased", english, False),
        ("bert-base-multilingual-cased", many, True),
    ):
        words = wordpiece(text, 1200, cased)
        bert(folder / f"google-bert/{name}/pinned", words, cased)
        distilbert(folder / f"distilbert/distil{name}/pinned", words, cased)
        if not cased:
            bert(folder / "google/bert_uncased_L-12_H-256_A-4/refs/pr/1", words, cased)


def wordpiece(text: list[str], size: int, cased: bool) -> dict[str, int]:
    """A vocabulary with the published ids: [PAD] 0, [unused…], [UNK] 100, [CLS] 101, [SEP] 102,
    [MASK] 103."""
    own = train_tokenizer(
        text if cased else [line.lower() for line in text], "wordpiece", size
    ).get_vocab()
    words = [
        word
        for word, _ in sorted(own.items(), key=lambda item: item[1])
        if not word.startswith("[")
    ]
    first = [
        "[PAD]",
        *(f"[unused{number}]" for number in range(1, 100)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    return {word: index for index, word in enumerate(first + words)}


def shape(vocabulary: int, positions: int, pad: int) -> dict:
    return {
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 2 * HIDDEN,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions,
        "model_type": "bert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": pad,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
    }


def pretrained(config: dict) -> dict:
    """The weights of a BERT with its pretraining heads, as named by the library."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(0)
    return {
        name: tensor.clone()
        for name, tensor in BertForPreTraining(BertConfig(**config)).state_dict().items()
    }


def herbert(folder: Path, tokenizer) -> None:
    """HerBERT: vocab.json and merges.txt without tokenizer.json, <s> 0 <pad> 1 </s> 2 <unk> 3
    <mask> 4, 514 positions. Its head for the sentences' order is called sso, the tied decoder is
    stored a second time, and so are the numbers of positions. On main there are no safetensors."""
    import torch
    from safetensors.torch import save_file

    config = shape(len(tokenizer), 514, pad=1)
    weights = pretrained(config)
    weights["cls.predictions.decoder.weight"] = weights[
        "bert.embeddings.word_embeddings.weight"
    ].clone()
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"].clone()
    weights["bert.embeddings.position_ids"] = torch.arange(514)[None]
    weights = {
        name.replace("cls.seq_relationship", "cls.sso.sso_relationship"): tensor
        for name, tensor in weights.items()
    }
    named = {
        "bos_token": "<s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }
    for revision in ("main", "refs/pr/2"):
        place = folder / revision
        place.mkdir(parents=True)
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        put(place / "vocab.json", model["vocab"])
        merges = "\n".join(" ".join(pair) for pair in model["merges"])
        (place / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
        put(place / "special_tokens_map.json", named)
        put(
            place / "tokenizer_config.json",
            named | {"model_max_length": 512, "do_lowercase_and_remove_accent": False},
        )
        put(place / "config.json", config | {"tokenizer_class": "HerbertTokenizerFast"})
        torch.save(weights, place / "pytorch_model.bin")
    save_file(weights, folder / "refs/pr/2/model.safetensors", metadata={"format": "pt"})


def bert(folder: Path, words: dict[str, int], cased: bool) -> None:
    """BERT as first published: LayerNorms with gamma and beta, a head for the next sentence, a tied
    decoder that is not stored."""
    from safetensors.torch import save_file

    config = shape(len(words), 512, pad=0)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    weights = {}
    for name, tensor in pretrained(config).items():
        for new, first in old.items():
            name = name.replace(new, first)
        if not name.startswith("cls.predictions.decoder"):
            weights[name] = tensor
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    put(
        folder / "config.json",
        config | {"architectures": ["BertForMaskedLM"], "directionality": "bidi"},
    )
    wordpiece_files(folder, words, cased)


def distilbert(folder: Path, words: dict[str, int], cased: bool) -> None:
    """DistilBERT: six layers, no segments, a head of its own names, a tied decoder that is not
    stored."""
    import torch
    from safetensors.torch import save_file
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(0)
    config = {
        "activation": "gelu",
        "architectures": ["DistilBertForMaskedLM"],
        "attention_dropout": 0.1,
        "dim": HIDDEN,
        "dropout": 0.1,
        "hidden_dim": 2 * HIDDEN,
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "model_type": "distilbert",
        "n_heads": HEADS,
        "n_layers": LAYERS // 2,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": len(words),
    }
    weights = DistilBertForMaskedLM(DistilBertConfig(**config)).state_dict()
    folder.mkdir(parents=True)
    save_file(
        {
            name: tensor.clone()
            for name, tensor in weights.items()
            if name != "vocab_projector.weight"
        },
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    put(folder / "config.json", config)
    wordpiece_files(folder, words, cased)


def wordpiece_files(folder: Path, words: dict[str, int], cased: bool) -> None:
    """vocab.txt, tokenizer.json and tokenizer_config.json."""
    from transformers import BertTokenizer

    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    BertTokenizer(vocab=words, do_lower_case=not cased).backend_tokenizer.save(
        str(folder / "tokenizer.json")
    )
    put(folder / "tokenizer_config.json", {"do_lower_case": not cased, "model_max_length": 512})


# --------------------------------------------------------------------------------------------- text


def corpora(folder: Path, languages: list[str]) -> None:
    """CC-100, the book corpus and Wikipedia."""
    script = {
        "main": folder / "statmt/cc100/main/cc100.py",
        "books": folder / "bookcorpus/bookcorpus/main/bookcorpus.py",
    }
    for path in script.values():
        path.parent.mkdir(parents=True)
        path.write_text("raise SystemExit('a loading script, which the library no longer runs')\n")
    # One line a row, its line end kept, and an empty row between two documents.
    rows = [
        text + "\n" if number % 7 else "\n"
        for number, text in enumerate(lines("pl", 700, corpus="web"))
    ]
    for number, part in enumerate((rows[:400], rows[400:])):
        records = [{"id": str(index), "text": text} for index, text in enumerate(part)]
        parquet(
            folder / f"statmt/cc100/refs/convert/parquet/pl/partial-train/{number:04d}.parquet",
            records,
        )
    parquet(
        folder / "statmt/cc100/refs/convert/parquet/be/train/0000.parquet",
        [{"id": "0", "text": "Слова\n"}],
    )
    books = [
        {"text": text.lower()} for text in lines("en", 1500, seed=1, corpus="novels")
    ]  # lowercased, a sentence a row
    parquet(
        folder / "bookcorpus/bookcorpus/refs/convert/parquet/plain_text/train/0000.parquet", books
    )
    wikipedia, configs = folder / "wikimedia/wikipedia/pinned", {}
    for number, language in enumerate(languages):
        config, rng = f"20231101.{language}", random.Random(language)
        articles = {"en": 150, "is": 25}.get(language, 40 // (1 + number % 4))
        records = [
            {
                "id": str(i),
                "url": f"{language}/{i}",
                "title": f"Title {i}",
                "text": article(language, rng, f"Title {i}"),
            }
            for i in range(articles)
        ]
        configs[config] = {"train": records}
    card(wikipedia, configs)


# -------------------------------------------------------------------------------------------- tasks


def glue(folder: Path) -> None:
    """GLUE's nine tasks: `idx`, classes by id, and test splits in which every label is -1 (a
    similarity of -1.0)."""
    from datasets import ClassLabel, Features, Value

    configs, features = {}, {}
    for name in (name for name, task in TASKS.items() if task.suite == "glue"):
        task = TASKS[name]
        features[name] = Features(
            {
                **{column: Value("string") for column in task.text},
                "label": ClassLabel(names=list(task.labels)) if task.labels else Value("float32"),
                "idx": Value("int32"),
            }
        )
        tests = [split.replace("validation", "test") for split, _ in task.validations]
        sizes = {
            "train": 24,
            **{split: 10 for split, _ in task.validations},
            **{split: 4 for split in tests},
        }
        configs[name] = {}
        for split, size in sizes.items():
            records = tasks.task_records("toy-en", name, split, size, 0)
            hidden = {"label": -1 if task.labels else -1.0} if split in tests else {}
            configs[name][split] = [
                {
                    **{column: record[column] for column in (*task.text, "label")},
                    **hidden,
                    "idx": index,
                }
                for index, record in enumerate(records)
            ]
    configs["qqp"]["train"][0]["question2"] = ""  # as in two of the real ones
    card(folder, configs, features)


def squad(folder: Path) -> None:
    """SQuAD 1.1: answers are two lists, several in validation; one context is longer than a
    window."""
    from datasets import Features, Sequence, Value

    features = Features(
        {
            **{column: Value("string") for column in ("id", "title", "context", "question")},
            "answers": Sequence({"text": Value("string"), "answer_start": Value("int32")}),
        }
    )
    splits = {}
    for split, size in (("train", 16), ("validation", 8)):
        records = [
            {"id": f"{split}{number}", "title": "Title", **record}
            for number, record in enumerate(tasks.task_records("toy-en", "squad", split, size, 0))
        ]
        records[1]["context"] += " " + " ".join(lines("en", 40, seed=9))
        splits[split] = [{name: record[name] for name in features} for record in records]
    card(folder, {"plain_text": splits}, {"plain_text": features})


def xnli(folder: Path) -> None:
    """XNLI: a configuration a language, each with a training split of its own that nobody needs."""
    from datasets import ClassLabel, Features, Value

    features = Features(
        {
            "premise": Value("string"),
            "hypothesis": Value("string"),
            "label": ClassLabel(names=list(TASKS["xnli"].labels)),
        }
    )
    configs = {}
    for language in XNLI:
        toy = TOY.get(language, "toy-en")
        configs[language] = {
            split: [
                {
                    "premise": written(record["premise"], language),
                    "hypothesis": written(record["hypothesis"], language),
                }
                | {"label": record["label"]}
                for record in tasks.task_records(toy, "xnli", "test", size, 0)
            ]
            for split, size in (("train", 6), ("test", 10), ("validation", 6))
        }
    card(folder, configs, dict.fromkeys(configs, features))


def klej(folder: Path, name: str) -> None:
    """KLEJ: train.csv, valid.csv, test.csv with `sentence` and `target`, labels as strings."""
    import pandas as pd

    folder.mkdir(parents=True)
    for file, split, size in (
        ("train", "train", 32),
        ("valid", "validation", 12),
        ("test", "test", 6),
    ):
        records = tasks.task_records("toy-pl", name, split, size, 0)
        records = [
            {"sentence": record["sentence"], "target": record["target"]} for record in records
        ]
        records[0]["sentence"] = (
            f'„{records[0]["sentence"]}" rzekł "Jan, i co'  # bare quotation marks, a comma
        )
        pd.DataFrame(records).to_csv(folder / f"{file}.csv", index=False)
    (folder / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")


# -------------------------------------------------------------------------------------------- files


def put(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def parquet(path: Path, records: list[dict], features=None) -> None:
    from datasets import Dataset

    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(records, features=features).to_parquet(path)


def card(
    folder: Path, configs: dict[str, dict[str, list[dict]]], features: dict | None = None
) -> None:
    """Parquet files and a README whose header names configurations, splits, features and numbers of
    records, as on the hub."""
    import yaml
    from datasets import Dataset

    data_files, about = [], []
    for name, splits in configs.items():
        for split, records in splits.items():
            parquet(
                folder / name / f"{split}-00000-of-00001.parquet",
                records,
                (features or {}).get(name),
            )
        own = (features or {}).get(name) or Dataset.from_list(next(iter(splits.values()))).features
        files = [{"split": split, "path": f"{name}/{split}-*"} for split in splits]
        counts = [
            {"name": split, "num_bytes": 1, "num_examples": len(records)}
            for split, records in splits.items()
        ]
        data_files.append({"config_name": name, "data_files": files})
        about.append(
            {
                "config_name": name,
                "features": own._to_yaml_list(),
                "splits": counts,
                "download_size": 1,
                "dataset_size": 1,
            }
        )
    header = yaml.safe_dump(
        {"configs": data_files, "dataset_info": about}, allow_unicode=True, sort_keys=False
    )
    (folder / "README.md").write_text(f"---\n{header}---\n", encoding="utf-8")
