"""Files at an address: read as those on disk are, and results copied there. The store is fsspec's,
in memory."""

import gzip
import subprocess
import sys

import fsspec
import pytest

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import fill_data_dir
from lib.common.places import ROOT
from lib.data import sources
from lib.data.textfiles import find_files
from lib.data.toy import corpora
from lib.runner import upload
from lib.tasks import examples
from tests.helpers import small

TEXT = {
    "b.txt": "ala ma kota\nżółw\n",
    "deep/a.jsonl": '{"text": "kot ma ale"}\n',
    "deep/c.txt.gz": "dom\r\nlas\n",
    "no.pdf": "x",
}


@pytest.fixture
def store():
    """A store with some text; its address."""
    memory = fsspec.filesystem("memory")
    for name, text in TEXT.items():
        content = text.encode()
        memory.pipe(
            f"/bucket/text/{name}", gzip.compress(content) if name.endswith(".gz") else content
        )
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def read(path):
    return list(sources.read_passages(sources.FileSource(path=path), seed=0))


def test_a_folder_a_file_and_a_pattern(store, tmp_path):
    for name, text in TEXT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    for pattern in ("", "/b.txt", "/deep/*.txt.gz", "/**/*.jsonl"):
        expected = read(f"{tmp_path}{pattern}")
        assert read(f"{store}/text{pattern}") == expected and expected
    source = sources.FileSource(path=f"{store}/text/b.txt")
    assert sources.expected_size(source) == ("bytes", 20) and sources.source_name(source) == "b.txt"
    sources.check_source(source)


@pytest.mark.parametrize(
    "path, message",
    [
        ("/none.txt", "memory://bucket/none.txt does not exist"),
        ("/text/no.pdf", "no.pdf is no text file; allowed: .txt"),
        ("/text/*.md", "no text file matches memory://bucket"),
    ],
)
def test_what_is_not_there_is_one_line(store, path, message):
    with pytest.raises(InputError, match=message) as error:
        read(store + path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_opened_is_one_line():
    with pytest.raises(InputError, match="^s3://bucket/text: Install s3fs to access S3"):
        find_files("s3://bucket/text", str, "any")
    with pytest.raises(InputError, match="^nothing://bucket/text: Protocol not known: nothing"):
        find_files("nothing://bucket/text", str, "any")


def test_the_data_folder_may_be_an_address(store):
    value = {"path": "{data_dir}/text"}
    assert fill_data_dir(value, store, "local", "file") == {"path": "memory://bucket/text"}
    assert fill_data_dir(value, store + "/", "local", "file") == {"path": "memory://bucket/text"}
    with pytest.raises(InputError, match="^DATA_DIR: there is no folder memory://elsewhere"):
        fill_data_dir(value, "memory://elsewhere", "local", "file")


def test_a_store_that_cannot_be_reached_is_one_line(store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("no credentials")

    for question in ("isdir", "isfile", "info"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), question, refuse)
    with pytest.raises(
        InputError,
        match=r"^DATA_DIR: memory://bucket cannot be reached \(PermissionError: no credentials\)",
    ):
        places.require_folder("memory://bucket", "DATA_DIR")
    with pytest.raises(
        InputError,
        match=r"^sources.path: memory://bucket/text cannot be reached \(PermissionError: no cred",
    ):
        find_files("memory://bucket/text", str, "any")


def test_tasks(store):
    memory = fsspec.filesystem("memory")
    for split, names in (("train", ("persName", "time")), ("validation", ("noEntity",))):
        rows = "\n".join(f"{place}\t{name}" for place, name in enumerate(names))
        memory.pipe(f"/bucket/klej/nkjp-ner/{split}.tsv", f"sentence\ttarget\n{rows}\n".encode())
    source = examples.TaskSource("files", store)
    assert examples.load("nkjp-ner", "train", source).texts == [("0",), ("1",)]
    examples.check("nkjp-ner", source)
    with pytest.raises(
        InputError,
        match="memory://bucket/klej/polemo2-in: no train.jsonl and no train.tsv and no train.csv",
    ):
        examples.check("polemo2-in", source)


def test_a_corpus_prepared_from_a_store_is_the_one_prepared_from_disk(store, tmp_path):
    text = "\n".join(corpora.corpus_lines("toy-pl", "web", 130, 1)).encode()
    (tmp_path / "text.txt").write_bytes(text)
    fsspec.filesystem("memory").pipe("/bucket/text.txt", text)
    found = []
    for path in (str(tmp_path / "text.txt"), f"{store}/text.txt"):
        source = {"kind": "files", "path": path}
        corpus = small.prepare_corpus(tmp_path / str(len(found)), sources=[source])
        found.append([row.tolist() for row in corpus.rows(range(20))[0]])
    assert found[0] == found[1]


# ------------------------------------------------------------------------------------------ results


def test_outputs_are_copied_to_a_store(store, tmp_path):
    (tmp_path / "tiny/S1").mkdir(parents=True)
    (tmp_path / "tiny/S1/result.json").write_text("result")
    memory = fsspec.filesystem("memory")
    for _ in range(2):
        upload.upload(tmp_path / "tiny", f"{store}/runs")
        assert memory.find("/bucket/runs") == ["/bucket/runs/tiny/S1/result.json"]
    assert memory.cat("/bucket/runs/tiny/S1/result.json") == b"result"


def test_a_store_that_cannot_be_written_to_is_one_line(tmp_path):
    for address, message in (
        ("s3://bucket/x", "Install s3fs"),
        ("no-such://bucket/x", "Protocol not known"),
        (f"file://{tmp_path}/file/x", "Not a directory"),
    ):
        (tmp_path / "file").touch()
        command = [sys.executable, "-m", "lib.runner.upload", "params", address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"error: PUBLISH_TO: {address} cannot be reached")
        assert message in done.stderr
