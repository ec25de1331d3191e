"""lib.data.mixing: languages sampled by the exponent, shuffling, disjoint sections."""

import random
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from lib.common.errors import InputError
from lib.data import mixing, prepare
from lib.data.parameters import DataPrep
from lib.data.prepared import open_corpus
from lib.data.reading import gather
from lib.data.sources import stable_hash

SIZES = {"en": 900, "de": 300, "is": 40}
QUIET = dict(say=lambda line: None)


def text(language, lines, copies=1):
    """Shuffled distinct lines that start with their language, some long, each `copies` times."""
    rng = random.Random(language)
    made = [
        f"{language} {n} " + " ".join(rng.choices("abcdefgh", k=rng.randrange(1, 30)))
        for n in range(lines)
    ]
    made *= copies
    rng.shuffle(made)
    return made


@pytest.fixture(scope="module")
def wiki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wiki")
    for language, lines in SIZES.items():
        (folder / f"{language}.txt").write_text(
            "\n".join(text(language, lines)) + "\n", encoding="utf-8"
        )
    return [{"kind": "files", "path": f"{folder}/{{language}}.txt", "languages": list(SIZES)}]


def settings(sources, **changes):
    values = dict(
        tokenizer="train:wordpiece",
        vocab_size=120,
        held_out_lines=1,
        deduplicate=False,
        max_length=128,
    )
    return DataPrep(sources=sources, **(values | changes))


def mix(sources, folder, held=(), **changes):
    """The Mix and the mixed text: [(line, section)]."""
    p = settings(sources, **changes)
    gather(p, folder / "text.arrow", **QUIET)
    result = mixing.plan_mix(p, folder / "text.arrow", np.array(sorted(held), np.int64), **QUIET)
    mixed = mixing.mix_lines(result, folder, np.array(sorted(held), np.int64), p, **QUIET)
    return result, list(zip(mixed["text"], mixed["section"]))


def small(monkeypatch, bucket=4096, block=1024):
    """Buckets so small that a little text fills many, and some are dealt out again."""
    monkeypatch.setattr(mixing, "BUCKET", bucket)
    monkeypatch.setattr(mixing, "BLOCK", block)
    monkeypatch.setattr(mixing, "BUCKETS", 4)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.arrow"))}


# ------------------------------------------------------------------------------------------ drawing


@pytest.mark.parametrize("sampled", [0, 100_000])
def test_shares_of_lines_are_what_equation_1_says_and_lines_repeat_evenly(wiki, tmp_path, sampled):
    result, lines = mix(wiki, tmp_path, sampling_exponent=0.3, sampled_lines=sampled)
    assert len(lines) == (sampled or sum(SIZES.values()))
    sizes = np.array(
        [sum(len(line.encode()) + 1 for line in text(name, count)) for name, count in SIZES.items()]
    )
    expected = (sizes / sizes.sum()) ** 0.3
    drawn = Counter(line.split()[0] for line, _ in lines)
    often = Counter(line for line, _ in lines)
    for name, share in zip(SIZES, expected / expected.sum()):
        assert abs(drawn[name] - share * len(lines)) < 1
        below = drawn[name] // SIZES[name]
        times = Counter(often[line] for line in text(name, SIZES[name]))
        assert set(times) <= {below, below + 1} and times[below + 1] == drawn[name] % SIZES[name]
    assert result.bytes.tolist() == sizes.tolist() and result.lines.tolist() == list(SIZES.values())
    assert result.bytes_drawn.sum() == sum(len(line.encode()) + 1 for line, _ in lines)


def test_every_line_is_as_likely_to_be_drawn(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(text("en", 30)) + "\n", encoding="utf-8")
    source, often = [{"kind": "files", "path": str(path), "language": "en"}], Counter()
    for seed in range(150):
        _, lines = mix(
            source, tmp_path, sampling_exponent=1, sampled_lines=40, seed=seed
        )  # each, and ten once more
        often.update(line for line, _ in lines)
    extra = np.array([often[line] - 150 for line in text("en", 30)])
    assert extra.sum() == 1500 and ((extra - 50) ** 2 / (50 * 2 / 3)).sum() < 29 + 4 * np.sqrt(
        2 * 29
    )


def test_a_target_is_met(wiki, tmp_path):
    result, lines = mix(wiki, tmp_path, sampling_target="en = 5 is", sampled_lines=60_000)
    drawn = Counter(line.split()[0] for line, _ in lines)
    assert drawn["en"] / drawn["is"] == pytest.approx(5, rel=1e-3)
    assert 0.4 < result.exponent < 0.7


def test_the_exponent_is_reported_with_a_warning_if_large(wiki, tmp_path):
    messages = []
    prepare.prepare(settings(wiki, sampling_target="en = 500 is"), tmp_path, say=messages.append)
    line = next(line for line in messages if line.startswith("sampling"))
    assert "(en = 500 is)" in line and line.endswith(
        "above 1: large languages get more than their share"
    )
    assert sum(line.startswith("shuffling") for line in messages) == 1


def test_languages_of_equal_size_are_rejected(tmp_path):
    (tmp_path / "a.txt").write_text("Ala ma kota\n" * 9, encoding="utf-8")
    source = {"kind": "files", "path": str(tmp_path / "a.txt")}
    p = settings(
        [source | {"language": "pl"}, source | {"language": "cs"}],
        sampling_target="pl = 2 cs",
        held_out_lines=1,
    )
    with pytest.raises(InputError, match="held_out_lines: 1 of 1 different lines"):
        prepare.prepare(p, tmp_path / "out", **QUIET)
    (tmp_path / "a.txt").write_text("Ala ma kota\nAla ma psa\n" * 9, encoding="utf-8")
    with pytest.raises(
        InputError, match="pl and cs are both [0-9]+ bytes, so no exponent makes them differ"
    ):
        prepare.prepare(p, tmp_path / "out", **QUIET)


# ---------------------------------------------------------------------------------------- shuffling


def test_every_order_is_as_likely(tmp_path, monkeypatch):
    monkeypatch.setattr(
        mixing, "BUCKET", 300
    )  # an Arrow file of a few rows is larger: it is dealt out again
    lines, times = 8, 500
    table = pa.table({"text": [f"line {n}" for n in range(lines)], "section": [0] * lines})
    places, follows = np.zeros((lines, lines)), 0
    for seed in range(times):
        rng = np.random.default_rng(seed)
        halves = ((table, np.arange(start, start + 4)) for start in (0, 4))
        buckets = mixing.deal(halves, tmp_path / "bucket", 1, 2, rng)
        order = [
            line for result in mixing.permute(buckets, rng) for line in result["text"].to_pylist()
        ]
        number = np.array([int(line.split()[1]) for line in order])
        assert sorted(number) == list(range(lines))
        places[number, np.arange(lines)] += 1
        follows += int((np.diff(number) == 1).sum())
    chance, freedom = times / lines, (lines - 1) ** 2
    assert ((places - chance) ** 2 / chance).sum() < freedom + 4 * np.sqrt(2 * freedom)
    assert abs(follows - times * (lines - 1) / lines) < 5 * np.sqrt(
        times
    )  # a line follows the one before: 1 in `lines`
    assert list(tmp_path.iterdir()) == []


def test_marked_lines_are_spread_evenly(wiki, tmp_path, monkeypatch):
    small(monkeypatch)
    _, lines = mix(wiki, tmp_path, shuffle=True)
    assert sorted(line for line, _ in lines) == sorted(
        line for name in SIZES for line in text(name, SIZES[name])
    )
    german = np.array(
        [n for n, (line, _) in enumerate(lines) if line.startswith("de ")]
    )  # 300 that stood together
    counts = np.histogram(german, 10, (0, len(lines)))[0]
    assert ((counts - 30) ** 2 / (30 * (1 - 300 / 1240))).sum() < 9 + 4 * np.sqrt(18)
    assert sum(a + 1 == b for a, b in zip(german, german[1:])) < 120  # by chance 72
    assert {path.name for path in tmp_path.iterdir()} == {
        "text.arrow",
        "mixed.arrow",
    }  # no bucket is left


def test_memory_depends_on_the_bucket_and_not_on_the_text(tmp_path, monkeypatch):
    small(monkeypatch, bucket=1 << 16, block=1 << 15)
    path = tmp_path / "a.txt"
    path.write_text(
        "\n".join(text("en", 20_000)) + "\n", encoding="utf-8"
    )  # 700 kB, drawn three times
    p = settings(
        [{"kind": "files", "path": str(path), "language": "en"}],
        sampling_exponent=1,
        sampled_lines=60_000,
    )
    gather(p, tmp_path / "text.arrow", **QUIET)
    none, before, most = np.empty(0, np.int64), pa.total_allocated_bytes(), 0
    result = mixing.plan_mix(p, tmp_path / "text.arrow", none, **QUIET)
    tracemalloc.start()
    rng = np.random.default_rng(0)
    for table in mixing.permute(
        mixing.deal(
            mixing.draw(tmp_path / "text.arrow", result, none, 0), tmp_path / "b", 1, 4, rng
        ),
        rng,
    ):
        most = max(most, pa.total_allocated_bytes() - before)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        (tmp_path / "text.arrow").stat().st_size > 1_000_000 and most < 400_000 and traced < 500_000
    )


# ----------------------------------------------------------------------------------------- sections


def test_sections_have_no_text_in_common_and_follow_each_other(tmp_path, monkeypatch):
    small(monkeypatch)
    path = tmp_path / "a.txt"
    lines = text("en", 600, copies=3)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, mixed = mix([{"kind": "files", "path": str(path)}], tmp_path, sections=3)
    sections = [section for _, section in mixed]
    assert sections == sorted(sections) and min(Counter(sections).values()) > 450
    assert Counter(line for line, _ in mixed) == Counter(
        lines
    )  # nothing sampled: every line as often as it stands there
    assert all(section == stable_hash(line, b"section") % 3 for line, section in mixed)
    for number in range(3):
        here = [line for line, section in mixed if section == number]
        assert here != sorted(here, key=lines.index)


def test_sections_have_the_shares_of_the_languages(wiki, tmp_path):
    result, mixed = mix(wiki, tmp_path, sampling_exponent=0.5, sampled_lines=30_000, sections=2)
    for number in range(2):
        here = Counter(line.split()[0] for line, section in mixed if section == number)
        for name, share, lines in zip(SIZES, result.probabilities, SIZES.values()):
            # Which lines are in a section is as if a coin were tossed for each.
            assert here[name] / sum(here.values()) == pytest.approx(share, rel=4 / np.sqrt(lines))


def test_section_sizes_after_splitting_and_dropping(wiki, tmp_path):
    statistics = prepare.prepare(
        settings(wiki, sections=3, max_length=16, min_tokens=6), tmp_path, **QUIET
    )
    assert (
        statistics["dropped"]["too_few_tokens"] > 0
        and statistics["sequences"] > statistics["lines"]
    )
    corpus = open_corpus(tmp_path)
    assert sum(statistics["sections"]) == len(corpus) and len(statistics["sections"]) == 3
    words, start, sections = corpus.tokenizer(), 0, []
    for size in statistics["sections"]:
        rows = corpus.rows(range(start, start + size))[0]
        first = [words.decode(ids, skip_special_tokens=True) for ids in rows]
        sections.append(
            {tuple(line.split()[:2]) for line in first if line.split()[0] in SIZES}
        )  # language and number
        start += size
    assert all(len(names) > 300 for names in sections)
    assert (
        not sections[0] & sections[1]
        and not sections[1] & sections[2]
        and not sections[0] & sections[2]
    )


# ------------------------------------------------------------------------------------ whole corpora


def test_the_statistics_of_languages_are_counts(wiki, tmp_path):
    whole = settings(wiki, sampling_exponent=0.5, sampled_lines=2000, held_out_lines=20)
    statistics = prepare.prepare(whole, tmp_path, **QUIET)
    rows = statistics["languages"]
    assert [row["language"] for row in rows] == list(SIZES) and statistics["sampling"] == {
        "exponent": 0.5,
        "target": "",
        "unit": "lines",
    }
    assert (
        sum(row["lines"] for row in rows) == sum(SIZES.values()) - 20
    )  # held-out lines are neither counted nor drawn
    assert sum(row["lines_drawn"] for row in rows) == 2000 == statistics["lines"]
    assert sum(row["tokens"] for row in rows) == statistics["tokens"]
    assert sum(row["bytes_drawn"] for row in rows) == statistics["bytes"]
    assert statistics["dropped"]["not_drawn"] == sum(
        max(0, row["lines"] - row["lines_drawn"]) for row in rows
    )
    corpus = open_corpus(tmp_path)
    words = corpus.tokenizer()
    tokens = Counter()
    for ids in corpus.rows(range(len(corpus)))[0]:
        tokens[words.decode(ids, skip_special_tokens=True).split()[0]] += len(ids) - 2
    assert {row["language"]: row["tokens"] for row in rows} == tokens
    for key in ("share", "target", "share_drawn", "share_bytes_drawn", "share_tokens"):
        assert sum(row[key] for row in rows) == pytest.approx(100)


def test_statistics_without_sampling_and_without_languages(wiki, tmp_path):
    statistics = prepare.prepare(settings(wiki), tmp_path, **QUIET)
    assert "sampling" not in statistics and "not_drawn" not in statistics["dropped"]
    assert statistics["sections"] == [statistics["sequences"]]
    for row in statistics["languages"]:
        assert (row["lines"], row["bytes"]) == (row["lines_drawn"], row["bytes_drawn"])
        assert row["share"] == pytest.approx(row["target"])
    (tmp_path / "a.txt").write_text("Ala ma kota\nAla ma psa\n" * 9, encoding="utf-8")
    plain = prepare.prepare(
        settings([{"kind": "files", "path": str(tmp_path / "a.txt")}]), tmp_path / "out", **QUIET
    )
    assert "languages" not in plain


def test_held_out_lines_and_their_copies_are_never_drawn(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(text("en", 200, copies=2)) + "\n", encoding="utf-8")
    p = settings(
        [{"kind": "files", "path": str(path), "language": "en"}],
        sampling_exponent=1,
        sampled_lines=3000,
        sections=2,
        held_out_lines=50,
    )
    statistics = prepare.prepare(p, tmp_path / "out", **QUIET)
    inside, outside = (
        {tuple(ids.tolist()) for ids in part.rows(range(len(part)))[0]}
        for part in (open_corpus(tmp_path / "out"), open_corpus(tmp_path / "out", "held_out"))
    )
    assert len(outside) == 50 and len(inside) == 150 and not inside & outside
    assert statistics["dropped"]["repeats_held_out"] == 50 and statistics["lines"] == 3000


def test_the_same_parameters_give_the_same_files_on_any_number_of_processes(
    wiki, tmp_path, monkeypatch
):
    small(monkeypatch)
    monkeypatch.setattr(prepare, "BLOCK", 100)
    for name, changes in {
        "one": {},
        "again": {},
        "two": {"processes": 2},
        "other": {"seed": 1},
    }.items():
        prepare.prepare(
            settings(wiki, sampling_exponent=0.5, sections=2, **changes), tmp_path / name, **QUIET
        )
    one, again, two, other = (
        files_of(tmp_path / name) for name in ("one", "again", "two", "other")
    )
    assert one == again == two and one != other


def test_the_tokenizer_is_trained_on_what_was_drawn(wiki, tmp_path):
    rare = [*wiki, {"kind": "files", "path": str(tmp_path / "a.txt"), "language": "zh"}]
    (tmp_path / "a.txt").write_text("".join(f"{n} 北京\n" for n in range(20)), encoding="utf-8")
    result = {}
    for power in (0, 1):
        p = settings(rare, sampling_exponent=power, sampled_lines=400, vocab_size=1000)
        prepare.prepare(p, tmp_path / str(power), **QUIET)
        result[power] = len(open_corpus(tmp_path / str(power)).tokenizer())
    assert result[0] != result[1]


def test_the_view_is_the_papers_table_1(wiki, tmp_path):
    from lib.report import stages

    statistics = prepare.prepare(
        settings(wiki, sampling_target="en = 2 is", sampled_lines=3000), tmp_path, **QUIET
    )
    result = stages.languages(statistics)
    assert list(result.index) == list(SIZES)
    row = statistics["languages"][2]
    assert result.loc["is", "after, % of lines"] == f"{row['lines_drawn'] / 30:.3g}"
    assert result.loc["is", "repeated"] == f"{row['lines_drawn'] / row['lines']:.3g} ×"
    assert list(
        stages.languages(statistics | {"languages": statistics["languages"][:1]}).index
    ) == ["en"]
    del statistics["languages"]
    assert list(stages.languages(statistics).index) == ["all"]
    assert "sampling exponent" in stages.corpus_statistics(statistics).index
