"""The losses of a hop and its objective, against 004's eq. (3) to (6) written out in NumPy, line by
line."""

import copy

import numpy as np
import pytest
import torch

from lib.fast.quicken import quicken
from lib.training import models, objectives
from lib.training.batches import Batch
from lib.training.losses import attention_loss, hidden_loss, soft_target_loss
from lib.training.mappings import layer_mapping
from lib.training.objectives import Hop, hand_out_attention, handed_out_attention, states
from tests.helpers import small

LENGTHS = [11, 3, 8, 5]


def bert(layers, dropout=0.0, seed=1, heads=4):
    return small.encoder(
        vocab_size=60,
        layers=layers,
        heads=heads,
        max_length=24,
        dropout=dropout,
        initializer_range=0.3,
        seed=seed,
    )


def lines(lengths=LENGTHS, width=12, seed=0):
    """A batch of sequences of these lengths, padded with token 1 to `width`."""
    rng = np.random.default_rng(seed)
    kept = torch.arange(width) < torch.tensor(lengths)[:, None]
    ids = torch.from_numpy(rng.integers(5, 60, kept.shape)).masked_fill(~kept, 1)
    return Batch(ids, kept, torch.full_like(ids, -100))


def disturbed(teacher, layers):
    """The teacher's lowest layers, moved: else the first losses of some mappings would be 0."""
    student = models.truncate(teacher, range(layers))
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return student


def every_layer(model):
    return range(1, model.config.num_hidden_layers + 1)


def plain(model, ids):
    """Hidden outputs and attention maps of one line without padding, from the library, in NumPy's
    float64."""
    model = copy.deepcopy(model).eval()
    hand_out_attention(model)
    with torch.no_grad():
        out = model.bert(input_ids=ids[None], output_hidden_states=True, output_attentions=True)
    return [
        [part[0].double().numpy() for part in parts]
        for parts in (out.hidden_states, out.attentions)
    ]


def written_out(student, teacher, batch, mapping):
    """Every L^H_k and L^A_j: sums over lines of squared differences, divided by the number of
    elements of all lines."""
    layers, depth = student.config.num_hidden_layers, teacher.config.num_hidden_layers
    hidden, attention = layer_mapping(mapping, layers, depth)
    sums = {f"hidden_{k}": 0.0 for k in hidden} | {f"attention_{j}": 0.0 for j in attention}
    elements = dict.fromkeys(sums, 0)
    for row, length in enumerate(batch.kept.sum(1).tolist()):
        (h_s, a_s), (h_t, a_t) = (
            plain(model, batch.inputs[row, :length]) for model in (student, teacher)
        )
        for k, sources in hidden.items():
            target = sum(h_t[source] for source in sources) / len(sources)
            sums[f"hidden_{k}"] += ((target - h_s[k]) ** 2).sum()
            elements[f"hidden_{k}"] += target.size
        for j, sources in attention.items():
            heads = []
            for head in range(len(a_s[0])):
                target = sum(a_t[source - 1][head] for source in sources) / len(sources)
                heads.append(((target - a_s[j - 1][head]) ** 2).sum())
            sums[f"attention_{j}"] += np.mean(heads)
            elements[f"attention_{j}"] += length**2
    return {name: sums[name] / elements[name] for name in sums}


def values(objective, batch):
    """Every component of the objective on one batch that is a whole step."""
    with torch.no_grad():
        return {
            name: float(value) for name, value in objective(batch, objective.counts(batch)).items()
        }


@pytest.mark.parametrize(
    "mapping, layers, depth",
    [("adjacent", 3, 4), ("adjacent", 2, 4), ("uniform", 2, 4), ("top", 3, 4), ("skip", 2, 4)],
)
def test_every_loss_is_that_of_the_equations(mapping, layers, depth):
    teacher, batch = bert(depth), lines()
    student = disturbed(teacher, layers)
    objective = Hop(student, teacher, mapping, hidden=2.0, attention=3.0, soft=0.5).eval()
    found = values(objective, batch)
    expected = written_out(student, teacher, batch, mapping)
    assert set(found) == set(expected) | {"hidden", "attention", "soft", "loss"}
    for name, value in expected.items():
        assert value > 1e-4 and found[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    for kind in ("hidden", "attention"):
        total = sum(value for name, value in expected.items() if name.startswith(kind)) / layers
        assert found[kind] == pytest.approx(total, rel=1e-5)
    with torch.no_grad():
        logits = [
            model(batch.inputs, batch.kept.long()).logits[batch.kept]
            for model in (student, teacher)
        ]
    assert found["soft"] == pytest.approx(
        float(soft_target_loss(*logits, 2.0)) / batch.kept.sum().item(), rel=1e-4
    )
    assert found["loss"] == pytest.approx(
        2 * found["hidden"] + 3 * found["attention"] + 0.5 * found["soft"], rel=1e-5
    )


def test_the_two_losses_on_random_tensors_are_numpys_to_a_millionth():
    """Eq. (4) to (6) in NumPy and double precision, three heads, padding left out by hand."""
    rng = np.random.default_rng(0)
    lengths, heads, width = [7, 4, 1], 3, 6
    kept = np.arange(7) < np.array(lengths)[:, None]
    hidden = [
        rng.normal(size=(3, 7, width)) for _ in range(3)
    ]  # the student's, two of the teacher's
    maps = [rng.dirichlet(np.ones(7), size=(3, heads, 7)) for _ in range(3)]
    ours, one, other = (torch.from_numpy(h[kept]).float() for h in hidden)
    found = float(hidden_loss(ours, (one + other) / 2)) / sum(lengths)
    expected = ((hidden[0] - (hidden[1] + hidden[2]) / 2)[kept] ** 2).mean()
    assert found == pytest.approx(expected, rel=1e-6)
    ours, one, other = (torch.from_numpy(a).float() for a in maps)
    found = float(attention_loss(ours, (one + other) / 2, torch.from_numpy(kept))) / sum(
        n * n for n in lengths
    )
    by_head = [
        sum(
            ((maps[0][i, h] - (maps[1][i, h] + maps[2][i, h]) / 2)[:n, :n] ** 2).sum()
            for i, n in enumerate(lengths)
        )
        / sum(n * n for n in lengths)
        for h in range(heads)
    ]
    assert found == pytest.approx(np.mean(by_head), rel=1e-6)


def test_without_padding_it_is_the_papers_mean_over_all_elements():
    """Lines of one length: MSE over [lines, heads, length, length] at once, 1/n times the sum; eq.
    (3)."""
    teacher, batch = bert(3), lines([12, 12, 12])
    student = disturbed(teacher, 2)
    objective = Hop(student, teacher).eval()
    found = values(objective, batch)["loss"]
    with torch.no_grad():
        (h_s, a_s), (h_t, a_t) = (
            states(model, batch, every_layer(model)) for model in (student, teacher)
        )
    mse = torch.nn.functional.mse_loss
    expected = sum(mse(h_s[k], (h_t[k] + h_t[k + 1]) / 2) for k in range(3))
    expected = (expected + sum(mse(a_s[j], (a_t[j] + a_t[j + 1]) / 2) for j in (1, 2))) / 2
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_sums_by_hand():
    student, target = torch.zeros(2, 4), torch.tensor([[1.0, 1, 1, 1], [2, 0, 0, 0]])
    assert float(hidden_loss(student, target)) == 1 + 1  # (4 · 1²)/4 + 2²/4
    maps = torch.zeros(1, 2, 3, 3)
    other = maps.clone()
    other[0, 0, 0, 1] = 3.0  # first head, a pair of real tokens: 9 / 2 heads
    other[0, 1, 0, 2] = other[0, 1, 2, 0] = (
        7.0  # the third token is padding, as a key and as a query
    )
    assert float(attention_loss(maps, other, torch.tensor([[True, True, False]]))) == 4.5


def test_a_student_that_is_its_target_has_no_loss():
    """The teacher's layers all alike in what they give: then the average of neighbours is what the
    student gives."""
    teacher = bert(3)
    with torch.no_grad():
        for layer in (
            teacher.bert.encoder.layer
        ):  # every layer passes its input on: LayerNorm of a normed input
            for module in (layer.attention.output, layer.output):
                module.dense.weight.zero_()
            layer.attention.self.query.weight.copy_(
                teacher.bert.encoder.layer[0].attention.self.query.weight
            )
            layer.attention.self.key.weight.copy_(
                teacher.bert.encoder.layer[0].attention.self.key.weight
            )
    objective = Hop(models.truncate(teacher, [0, 1]), teacher).eval()
    found = values(objective, lines())
    assert found["loss"] == pytest.approx(0, abs=1e-9) and len(found) == 3 + 2 + 3


def test_padding_changes_nothing():
    teacher = bert(3)
    batch, objective = lines(), Hop(disturbed(teacher, 2), teacher, soft=1.0).eval()
    wider = Batch(
        *(
            torch.nn.functional.pad(part, (0, 8), value=value)
            for part, value in ((batch.inputs, 1), (batch.kept, False), (batch.labels, -100))
        )
    )
    narrow, wide = (values(objective, each) for each in (batch, wider))
    assert wide == pytest.approx(narrow, rel=1e-5) and len(narrow) == 3 + 2 + 4


def test_counts_are_tokens_and_pairs():
    assert Hop(bert(1), bert(2)).counts(lines()) == {
        "masked": 0,
        "kept": 11 + 3 + 8 + 5,
        "pairs": 121 + 9 + 64 + 25,
    }


def gradient(objective, parts):
    totals = {}
    for batch in parts:
        for key, count in objective.counts(batch).items():
            totals[key] = totals.get(key, 0) + count
    objective.student.zero_grad()
    losses = []
    for batch in parts:
        losses.append(objective(batch, totals)["loss"])
        losses[-1].backward()
    grads = [p.grad.flatten() for p in objective.student.parameters() if p.grad is not None]
    return [loss.item() for loss in losses], torch.cat(grads)


def rows(batch, chosen):
    return Batch(batch.inputs[chosen], batch.kept[chosen], batch.labels[chosen])


def test_every_line_of_a_batch_contributes():
    """Public code of 004 kept the first line of each batch. Each line has its share of the loss,
    and any of them left out or exchanged changes the gradient."""
    teacher, batch = bert(3), lines()
    objective = Hop(disturbed(teacher, 2), teacher).eval()
    (whole,), expected = gradient(objective, [batch])
    shares, summed = gradient(objective, [rows(batch, [row]) for row in range(4)])
    assert min(shares) > 0.02 * whole and sum(shares) == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(summed, expected, rtol=1e-4, atol=1e-6)
    for row in range(4):
        other = rows(batch, [0, 1, 2, 3])
        other.inputs = batch.inputs.clone()
        other.inputs[row] = torch.where(batch.kept[row], (batch.inputs[row] + 7) % 50 + 5, 1)
        _, moved = gradient(objective, [other])
        assert (moved - expected).norm() > 1e-3 * expected.norm(), row


def test_k_micro_batches_equal_one_batch():
    teacher, batch = bert(4), lines()
    for mapping, soft in (("adjacent", 0.0), ("uniform", 1.0), ("skip", 1.0)):
        objective = Hop(disturbed(teacher, 2), teacher, mapping, soft=soft).eval()
        whole, once = gradient(objective, [batch])
        parts, twice = gradient(objective, [rows(batch, [0]), rows(batch, [1, 2, 3])])
        assert sum(parts) == pytest.approx(sum(whole), rel=1e-5)
        assert torch.allclose(once, twice, rtol=1e-4, atol=1e-6)


def test_attention_maps_are_handed_out_for_one_call(monkeypatch):
    """The library's default attention returns an empty tuple, over which a sum would be 0."""
    teacher, batch = bert(3), lines()
    hidden, maps = states(teacher, batch)
    assert len(hidden) == 4 and maps == {}
    hidden, maps = states(teacher, batch, every_layer(teacher))
    assert list(maps) == [1, 2, 3] and maps[1].shape == (4, 4, 12, 12)
    assert torch.allclose(maps[1].sum(-1), torch.ones(4, 4, 12), atol=1e-5)
    assert (
        maps[1].transpose(1, 3)[~batch.kept] == 0
    ).all()  # padded keys have weight 0, not just a small one
    kinds = [layer.attention.self.config for layer in teacher.bert.encoder.layer]
    assert {config._attn_implementation for config in [teacher.config, *kinds]} == {"sdpa"}
    monkeypatch.setattr(objectives, "hand_out_attention", lambda model, layers: None)
    with pytest.raises(
        RuntimeError,
        match=r"3 layers returned 4 hidden outputs and no attention maps of the layers \[1, 2, 3\]",
    ):
        states(teacher, batch, every_layer(teacher))


def test_hidden_output_0_is_that_of_the_embeddings():
    teacher, batch = bert(2), lines()
    hidden, _ = states(teacher.eval(), batch)
    assert torch.equal(hidden[0], teacher.bert.embeddings(batch.inputs))
    assert torch.equal(hidden[2], teacher.bert(batch.inputs, batch.kept.long()).last_hidden_state)


def test_attention_is_computed_in_plain_steps_only_where_it_is_matched():
    """Uniform from 4 layers to 2: the teacher's layers 2 and 4 hand out maps, 1 and 3 do not."""
    theirs, batch = bert(4), lines()
    ours = disturbed(theirs, 2)
    objective = Hop(ours, theirs, mapping="uniform").eval()
    with handed_out_attention(theirs, objective.of_teacher.maps):
        layers = theirs.bert.encoder.layer
        kinds = [layer.attention.self.config._attn_implementation for layer in layers]
    assert kinds == ["sdpa", "eager", "sdpa", "eager"]
    found = values(objective, batch)
    _, maps = states(theirs, batch, every_layer(theirs))
    _, mine = states(ours, batch, every_layer(ours))
    expected = sum(float(attention_loss(mine[j], maps[2 * j], batch.kept)) for j in (1, 2))
    assert found["attention"] == pytest.approx(
        expected / int(batch.kept.sum(-1).square().sum()) / 2, rel=1e-5
    )


def test_the_gradient_of_a_squared_error_is_that_of_its_definition():
    """With and without padding."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 3, 4, 6, generator=generator)
    kept = torch.tensor([[True, True, True, False], [True] * 4, [True, False, False, False]])
    for mask in (None, kept):
        a, b = (ours.clone().requires_grad_() for _ in range(2))
        counted = 1.0 if mask is None else mask.unsqueeze(-1)
        hidden_loss(a, theirs, mask).mul(3).backward()
        (((b - theirs) ** 2 * counted).sum() / 6).mul(3).backward()
        assert torch.allclose(a.grad, b.grad, rtol=1e-6, atol=1e-7)


def test_the_switch_to_eager_attention_stays_with_its_model():
    one = bert(3)
    other = models.BertForMaskedLM(one.config)  # shares its configuration
    assert other.config is one.config
    hand_out_attention(one)
    assert (
        one.config._attn_implementation == "eager" and other.config._attn_implementation == "sdpa"
    )
    assert other.bert.encoder.layer[0].attention.self.config._attn_implementation == "sdpa"


def test_without_maps_to_match_attention_is_left_as_it_is():
    teacher, batch = bert(3), lines()
    objective = Hop(disturbed(teacher, 2), teacher, attention=0.0).eval()
    found = values(objective, batch)
    assert teacher.config._attn_implementation == "sdpa"
    assert set(found) == {"hidden_0", "hidden_1", "hidden_2", "hidden", "loss"}


@pytest.mark.parametrize(
    "dropout, student, teacher",
    [("both", True, True), ("student", True, False), ("none", False, False)],
)
def test_dropout_is_on_where_it_should_be(dropout, student, teacher):
    theirs = bert(3, dropout=0.3)
    ours, batch = models.truncate(theirs, [0, 1]), lines()
    objective = Hop(ours, theirs, dropout=dropout)
    assert (ours.training, theirs.training) == (student, teacher)
    for model, random in ((ours, student), (theirs, teacher)):
        torch.manual_seed(0)
        a, b = (states(model, batch, every_layer(model)) for _ in range(2))
        assert torch.equal(a[0][-1], b[0][-1]) != random
        assert torch.equal(a[1][1], b[1][1]) != random  # the maps are those after dropout
    objective.eval()
    assert not ours.training and not theirs.training
    objective.train()
    assert (ours.training, theirs.training) == (student, teacher)


def test_no_gradient_reaches_the_teacher():
    teacher = bert(3)
    objective = Hop(disturbed(teacher, 2), teacher, soft=1.0)
    objective(lines(), objective.counts(lines()))["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert {id(p) for p in objective.parameters()} == {
        id(p) for p in objective.student.parameters()
    }


def test_frozen_embeddings_cost_no_gradient_and_leave_the_others_as_they_were(monkeypatch):
    """Also through the soft targets' head, whose decoder is tied to them: no room is made for a
    gradient of its size."""
    teacher, batch = bert(3), lines()
    found, made, real = [], [], torch.empty_like
    monkeypatch.setattr(
        torch, "empty_like", lambda like, **more: made.append(like.shape) or real(like, **more)
    )
    for frozen in (False, True):
        student = disturbed(teacher, 2)
        student.bert.embeddings.requires_grad_(not frozen)
        objective = quicken(Hop(student, teacher, soft=1.0)).eval()
        objective(batch, objective.counts(batch))["loss"].backward()
        found.append({name: p.grad for name, p in student.named_parameters()})
        assert (student.cls.predictions.decoder.weight.shape in made) != frozen
        made.clear()
    free, frozen = found
    gone = {name for name in frozen if frozen[name] is None}
    assert gone == {name for name in free if name.startswith("bert.embeddings.")}
    assert all(
        torch.allclose(frozen[name], free[name], rtol=1e-5, atol=1e-7)
        for name in set(frozen) - gone
    )
