"""`make bench` end to end at tiny sizes, and the counts and fits behind its numbers."""

import json
import mmap
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.report import bench
from lib.training.batches import padded_width
from lib.training.objectives import hand_out_attention
from tests.benchmarks import report, steps
from tests.benchmarks.cases import CASES, MATCHED, QUICK, Case, chosen, sequence_lengths
from tests.benchmarks.flops import head_flops, step_flops, trunk_flops
from tests.benchmarks.growth import exponent
from tests.benchmarks.measure import MIB, Peak, anonymous, disagreement, interleaved
from tests.helpers.drawn import overlaps

TINY = Case("tiny", vocab=97, hidden=16, heads=2, layers=(3, 2), batch=3, length=24)
COLUMNS = (
    "implementation objective precision vocab hidden batch sequence median_s peak_memory_mib ratio"
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Folder and printed words of a quick run."""
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.benchmarks",
            "--quick",
            "--threads",
            "1",
            "--to",
            str(folder),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_a_quick_run_leaves_every_case_in_every_file(quick):
    folder, printed = quick
    found = pd.read_csv(folder / "steps.csv")
    assert found.columns.tolist() == COLUMNS.split()
    assert (
        (found["implementation"] == "ours").sum()
        == (found["implementation"] == "plain").sum()
        == len(QUICK)
    )
    comparable = sum(case.kind not in MATCHED for case in QUICK)
    assert found["implementation"].str.startswith("textbrewer").sum() == comparable
    measured = found[found["implementation"] != report.ABSENT]
    assert (measured["median_s"] > 0).all() and measured["peak_memory_mib"].notna().all()
    assert (found.loc[found["implementation"] == "plain", "ratio"] == 1).all()
    about = json.loads((folder / "bench.json").read_text())
    assert (
        set(about["cases"]) == {case.name for case in QUICK} and min(about["gflops"].values()) > 0
    )
    grown = pd.read_csv(folder / "growth.csv")
    assert (
        grown.columns.tolist()
        == "axis value median_s peak_memory_mib time_exponent memory_exponent".split()
    )
    assert "<svg" in (folder / "steps.svg").read_text()
    assert all(f"\n{case.name} " in printed for case in QUICK)


def test_flops_are_the_hand_count():
    """6 tokens in 2 sequences of 3, one layer, hidden 2, intermediate 8: 6 · (4 · 2·2 + 2 · 2·8)
    multiply-adds in the projections, 2 sequences · 2 products · 3·3·2 in the attention; 5 rows
    through 2·2 and 2·7 in the head."""
    assert trunk_flops(6, 3, 1, 2, 8) == 2 * (6 * 48 + 2 * 2 * 18) == 720
    assert head_flops(5, 2, 7) == 2 * 5 * (4 + 14) == 180
    case = Case("hand", vocab=7, hidden=2, layers=(2, 1))
    assert step_flops(case, [(2, 3)], 5) == (2 + 3) * 720 + 4 * 180
    assert step_flops(case, [(2, 3), (2, 3)], 0) == 2 * (2 + 3) * 720


def test_flops_are_those_that_the_library_counts_in_a_plain_step():
    teacher, student = steps.networks(TINY)
    for model in (teacher, student):
        hand_out_attention(model)  # in plain steps, every product of which is counted
    (batch,), _ = steps.batches(TINY)
    with FlopCounterMode(display=False) as counter:
        steps.plain(student, teacher, batch, "all").backward()
    assert counter.get_total_flops() == step_flops(TINY, [(3, 24)], 3 * 24)


def test_our_rows_are_those_that_are_compared():
    case = replace(TINY, lengths="real", pool=2)
    for positions in ("all", "masked"):
        ours = steps.build(replace(case, positions=positions), "ours")
        wanted = [batch.kept if positions == "all" else batch.labels >= 0 for batch in ours.batches]
        assert [ours.rows(batch) for batch in ours.batches] == [rows.sum() for rows in wanted]
        assert sum(rows.sum() for rows in wanted) < sum(
            rows.numel() for rows in wanted
        )  # there is padding to leave out


@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("lengths", ["full", "real"])
def test_plain_and_ours_agree_in_loss_and_gradient(positions, lengths):
    case = replace(TINY, positions=positions, lengths=lengths, pool=2)
    plain, ours = (steps.build(case, name) for name in ("plain", "ours"))
    for batch in ours.batches:
        assert plain(steps.cut(batch, case.length)).item() == pytest.approx(
            ours(batch).item(), rel=1e-5
        )
        pairs = zip(plain.student.parameters(), ours.student.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6) for a, b in pairs)


def test_a_hop_and_a_plain_hop_agree():
    case = replace(TINY, kind="hop")
    built = {name: steps.build(case, name) for name in ("plain", "ours")}
    losses = disagreement(built, 1e-5)
    assert losses["plain"] > 0


@pytest.mark.skipif(not steps.textbrewer_is_there(), reason="TextBrewer is an extra")
@pytest.mark.parametrize(
    "case", [TINY, replace(TINY, positions="masked", lengths="real"), replace(TINY, kind="hop")]
)
def test_textbrewer_minimises_the_same(case):
    """Its soft loss lacks the teacher's entropy, a constant: the gradient is the plain step's."""
    plain, theirs = (steps.build(case, name) for name in ("plain", "textbrewer"))
    (batch,) = plain.batches
    more = theirs(batch).item() - plain(batch).item()
    assert more == pytest.approx(0, abs=1e-5) if case.kind == "hop" else more > 1
    pairs = zip(plain.student.bert.parameters(), theirs.student.bert.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6) for a, b in pairs)


def test_losses_that_differ_stop_a_case():
    built = {name: steps.build(TINY, name) for name in ("plain", "ours")}
    loss = built["ours"].loss
    built["ours"].loss = lambda batch: 1.001 * loss(batch)
    with pytest.raises(AssertionError, match="ours gives a loss"):
        disagreement(built, 1e-4)


def test_both_orders_of_the_pool_hold_the_same_sequences_and_masks():
    case = replace(TINY, lengths="real", pool=4)
    wide, grouped = steps.batches(case)
    rows = [
        sorted(
            (tuple(i[k].tolist()), tuple(y[k].tolist()))
            for batch in side
            for i, k, y in zip(batch.inputs, batch.kept, batch.labels)
        )
        for side in (wide, grouped)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 12
    assert all(batch.inputs.shape[1] == 24 for batch in wide) and all(
        b.inputs.shape[1] == padded_width(int(b.kept.sum(1).max())) for b in grouped
    )
    assert sum(b.inputs.numel() for b in grouped) < sum(b.inputs.numel() for b in wide)


def test_real_lengths_are_37_of_128_on_average():
    lengths = sequence_lengths(next(case for case in CASES if case.lengths == "real"))
    assert (
        len(lengths) == 128 and lengths.mean() == pytest.approx(37, abs=1) and lengths.max() <= 128
    )


def test_cases_are_chosen_by_name_or_group():
    assert [
        case.name for case in chosen("small base-masked hop", CASES)
    ] == "small-all small-masked base-masked hop".split()
    assert chosen("", CASES) == CASES
    with pytest.raises(InputError, match="no case 'big'; allowed are small small_bf16 real"):
        chosen("small big", CASES)


def test_rounds_are_interleaved_and_a_step_is_the_mean_of_its_batches():
    order = []
    calls = {
        name: [lambda name=name, k=k: order.append(f"{name}{k}") for k in range(n)]
        for name, n in (("a", 2), ("b", 1))
    }
    found = interleaved(calls, 2, 1.0)
    assert order == "a0 b0".split() + 2 * "a0 a1 b0".split()
    assert [len(values) for values in found.values()] == [2, 2]


def test_the_peak_sees_memory_that_is_gone_at_the_end():
    before = anonymous()
    with Peak() as peak:
        # Pages of its own: an allocator may have as many left over from another test.
        with mmap.mmap(-1, 40 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as there:
            there[:: mmap.PAGESIZE] = bytes(40 * MIB // mmap.PAGESIZE)
            time.sleep(0.2)  # on a busy machine a look may come late
    assert 35 < (peak.bytes - before) / MIB < 60


def test_the_exponent_of_a_power_is_found():
    x = np.array([1, 2, 4, 8])
    assert exponent(x, 3 * x**1.7) == pytest.approx(1.7) and np.isnan(exponent(x, [1, 0, 1, 1]))


def made_up_cases():
    seconds = {"plain": 2.0, "ours": 0.5, "trunks": 0.1}
    found = {name: {"median_s": value, "share_of_rate": 0.5} for name, value in seconds.items()}
    timed = {"tokens_per_sequence": 128.0, "implementations": found}
    return {
        case.name: (case, timed, {"plain": 400.0, "ours": 100.0 + case.vocab / 1e4})
        for case in CASES
    }


def made_up():
    about = {
        "cpu": "a processor",
        "gpu": "",
        "threads": 2,
        "gflops": {"fp32": 400.0, "fp32_default": 200.0, "bf16": 800.0},
    }
    return report.summary(about, made_up_cases(), quick=False)


def test_the_table_divides_and_says_what_is_not_installed():
    line = report.lines(made_up()).splitlines()[1].split()
    assert line[:6] == ["small-all", "2.000", "0.500", "0.250", "≤", "0.28"]
    assert bench.steps_table(made_up())["ours/TextBrewer"].eq("not installed").all()
    rows = report.rows(*made_up_cases()["small-all"])
    assert [row["implementation"] for row in rows] == ["plain", "ours", "trunks", report.ABSENT]
    assert [row["precision"] for row in report.rows(*made_up_cases()["small_bf16-all"])] == [
        "fp32",
        "bf16",
        "bf16",
        "bf16",
    ]
    flat = report.flatness(made_up_cases())
    assert flat["soft + mlm + cosine, all positions"] == pytest.approx(
        (100 + 11.9547) / (100 + 3.0522)
    )


def test_names_in_the_figure_do_not_overlap():
    assert overlaps(bench.figure(made_up())) == []
    assert "small-all 0.25" in bench.describe(made_up())


def test_a_report_reads_back_what_was_left_and_says_where_nothing_was(quick, tmp_path):
    folder, _ = quick
    assert bench.read(tmp_path) is None and "make bench" in bench.opening(None)
    found = bench.read(folder)
    assert list(bench.steps_table(found).index) == [case.name for case in QUICK]
    assert "GFLOP/s" in bench.opening(found) and "not measured" in bench.opening(
        found | {"gpu": ""}
    )
    assert (
        list(bench.growth_table(folder).index) == ["tokens"] and bench.growth_table(tmp_path).empty
    )
