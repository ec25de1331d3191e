"""Tables and figures as a notebook cell shows them."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib.report.figures import DIAMOND
from lib.report.page import show
from lib.report.wording import quoted

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def styled():
    import matplotlib

    matplotlib.use("agg")
    with matplotlib.rc_context():
        show.style()
        yield
    plt.close("all")


def scores():
    columns = pd.MultiIndex.from_product([["IN", "OUT"], ["ours", "printed"]])
    return pd.DataFrame(
        [[81.23, 80.8, 58.0, 59.7], [82.9, 81.3, None, 60.0]],
        index=pd.Index(["S0", "S1"], name="scenario"),
        columns=columns,
    )


def drawing(label="NKJP-NER", values=(1, 2, 3)):
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], values, marker="o", label="ours")
    ax.plot([1, 2, 3], [3, 2, 1], label="paper", **DIAMOND)
    ax.bar([2], [1], facecolor="none", edgecolor=show.GREY, hatch="////")
    ax.set_ylabel(label)
    return fig


def test_importing_is_cheap():
    code = (
        "import sys, lib.report.page.show; print(sorted({'matplotlib', 'pandas', 'seaborn', "
        "'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_cells_are_text_and_never_markup():
    frame = pd.DataFrame(
        {"<i>column</i>": ["<script>alert(1)</script> & <b>"]},
        index=pd.Index(["<u>"], name="<name>"),
    )
    html = show.table(frame, "<caption>", note="<note>", name='"x').data
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in html
    for tag in ("<script", "<b>", "<u>", "<name>", "<note>", "<caption>", "<i>"):
        assert tag not in html


def test_grouped_columns_share_a_heading_and_the_index_shows_its_name():
    html = show.table(scores(), "Accuracy").data
    assert html.count('colspan="2"') == 2
    assert '<th scope="col" rowspan="2">scenario</th>' in html and '<th scope="row">S1</th>' in html


def test_an_index_without_a_name_stays_hidden():
    html = show.table(pd.DataFrame({"a": [1]}, index=["secret"]), "c").data
    assert "secret" not in html and "rowspan" not in html


def test_a_repeated_outer_index_label_is_shown_once():
    frame = pd.DataFrame(
        {"a": [1, 2, 3]},
        index=pd.MultiIndex.from_tuples(
            [("h", "x"), ("h", "y"), ("t", "z")], names=["study", "run"]
        ),
    )
    html = show.table(frame, "c").data
    assert html.count('<th scope="row">h</th>') == 1 and html.count('<tr class="new">') == 1


@pytest.mark.parametrize(
    "theirs, cells, marks",
    [
        ([("IN", "printed")], 2, 1),  # one column
        (["OUT"], 4, 1),  # a whole group says "paper" once, on top
        ([], 0, 0),
    ],
)
def test_the_papers_numbers_are_italic_tinted_and_marked(theirs, cells, marks):
    html = show.table(scores(), "c", theirs=theirs).data
    assert len(re.findall(r'<td class="[^"]*theirs"><i>', html)) == cells
    assert html.count('<small class="mark">paper</small>') == marks


def test_a_heading_that_says_paper_is_not_marked_twice():
    assert "<small" not in show.table(pd.DataFrame({"paper": [1.0]}), "c", theirs=["paper"]).data


@pytest.mark.parametrize(
    "values, texts",
    [
        ([81.234, 9.0], ["81.2", "9.0"]),
        ([0.51234, None], ["0.512", "–"]),
        ([np.int64(124443000)], ["124,443,000"]),
        ([1e-5, 5e-4], ["1e-05", "0.0005"]),
        ([True, False], ["✓", "✗"]),
        ([np.float32(2.5), -2.96], ["2.50", "-2.96"]),
        ([np.float32(2.5), "two", pd.NA, np.True_, 7], ["2.50", "two", "–", "✓", "7"]),
    ],
)
def test_numbers(values, texts):
    html = show.table(pd.DataFrame({"x": pd.Series(values, dtype=None)}), "c").data
    assert re.findall(r"<td[^>]*>([^<]*)</td>", html) == texts


@pytest.mark.parametrize(
    "text, kind",
    [
        ("84.7 ± 0.3", "num"),
        ("[−1.2, 3.4]", "num"),
        ("002", "word"),
        ("S0", "word"),
        ("12", "num"),
        ("two words", ""),
        ("✓", "mid"),
        ("x" * 40, "long"),
    ],
)
def test_how_a_column_is_set(text, kind):
    html = show.table(pd.DataFrame({"x": [text]}), "c").data
    assert re.search(r"<td(?: class=\"(\w*)\")?[ >]", html)[1] == (kind or None)


def test_facts_are_text():
    html = show.facts({"Data": "<b> & more", "Scale": "tiny"}).data
    assert "<dt>Data</dt><dd>&lt;b&gt; &amp; more</dd>" in html and html.count("<dt>") == 2


def test_a_table_with_sentences_names_its_cells_for_narrow_screens():
    frame = pd.DataFrame({"claim": ["x" * 40], "n": [5]})
    html = show.table(frame, "c").data
    assert 'class="table stacked"' in html and '<td class="num" data-column="n">5</td>' in html
    assert (
        "stacked" not in show.table(frame[["n"]], "c").data
        and "data-column" not in show.table(frame[["n"]], "c").data
    )


def test_the_shape_of_a_table_is_told_to_the_page():
    assert 'class="table tall"' in show.table(pd.DataFrame({"n": range(15)}), "c").data
    assert 'class="table wide"' in show.table(pd.DataFrame([range(8)]), "c").data
    assert 'class="table wide crowded"' in show.table(pd.DataFrame([range(12)]), "c").data


def test_a_papers_number_in_a_caption_or_note_is_marked():
    html = show.table(
        pd.DataFrame({"n": [1]}), f"Beside {quoted('9.7')}", note=f"{quoted('<77>')} is 3 %"
    ).data
    assert (
        'Beside <i class="theirs">9.7</i>†' in html
        and '<i class="theirs">&lt;77&gt;</i>† is 3\u00a0%' in html
    )


def test_a_frame_without_rows_is_not_shown():
    assert show.table(pd.DataFrame({"a": []}), "c").data == ""


def test_a_figure_follows_the_readers_theme_and_says_what_it_shows():
    html = show.figure(drawing(), "A <caption>", 'Two lines "cross"', name="lines").data
    assert 'role="img"' in html and 'aria-label="Two lines &quot;cross&quot;"' in html
    assert 'id="lines"' in html and "A &lt;caption&gt;" in html
    assert "currentColor" in html and show.INK not in html
    assert ">NKJP-NER</text>" in html  # letters stay letters
    assert "http" not in html and "<style" not in html and "<metadata" not in html
    assert not plt.get_fignums()


def test_figures_share_no_id_and_refer_only_to_their_own():
    pages = [show.figure(drawing(label), label, "a").data for label in ("one", "two")]
    ids = [set(re.findall(r' id="([^"]+)"', page)) for page in pages]
    assert ids[0] and not ids[0] & ids[1]
    for page, own in zip(pages, ids):
        assert set(re.findall(r"[\"(]#([\w-]+)", page)) == own


def test_the_same_figure_gives_the_same_bytes():
    assert show.figure(drawing(), "c", "a").data == show.figure(drawing(), "c", "a").data


def test_rounding_leaves_labels_alone():
    assert "0.123456" in show.figure(drawing("0.123456"), "c", "a").data
