"""The objectives are the equations, and `quicken(objective)` computes the same: loss and gradient
of every combination of losses, positions, temperatures and mappings.

The equations are written out with the library's own models and functions, all logits of both
networks, in double precision.
"""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F

from lib.fast import linear
from lib.fast.layer import Layer
from lib.fast.quicken import quicken
from lib.training import models
from lib.training.batches import IGNORE, Batch, whole_word_mask
from lib.training.mappings import layer_mapping
from lib.training.objectives import Distillation, Hop, hand_out_attention

LENGTHS = [20, 7, 13, 3, 16]
VOCABULARY = 307
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def several_slabs(monkeypatch):
    """To a product with the vocabulary."""
    monkeypatch.setattr(linear, "SLAB", 2**11)


@pytest.fixture(scope="module")
def networks():
    """A teacher of 4 layers, and a student of its first and third that has moved since."""
    teacher = models.new_encoder(
        vocab_size=VOCABULARY,
        layers=4,
        hidden=24,
        heads=3,
        intermediate=48,
        max_length=24,
        pad_id=0,
        initializer_range=0.25,
        dropout=0.0,
    )
    student = models.truncate(teacher, [0, 2])
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return student, teacher.eval()


@pytest.fixture(scope="module")
def batch():
    kept = torch.arange(24) < torch.tensor(LENGTHS)[:, None]
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, VOCABULARY, kept.shape, generator=generator) * kept
    inputs, labels = whole_word_mask(
        ids,
        torch.ones_like(kept),
        kept,
        mask_id=4,
        vocab_size=VOCABULARY,
        probability=0.3,
        generator=generator,
    )
    return Batch(inputs, kept, labels)


def plain(
    student,
    teacher,
    batch,
    mlm,
    soft,
    cosine,
    positions,
    temperature,
    cosine_of="hidden",
    head=True,
):
    given = {
        "input_ids": batch.inputs,
        "attention_mask": batch.kept.long(),
        "output_hidden_states": True,
    }
    ours = student(**given)
    with torch.no_grad():
        theirs = teacher(**given)
    where = batch.kept if positions == "all" else batch.labels != IGNORE
    z_s, z_t = ours.logits, theirs.logits
    if not head:
        words = (model.bert.embeddings.word_embeddings.weight for model in (student, teacher))
        z_s, z_t = (out.hidden_states[-1] @ e.T for out, e in zip((ours, theirs), words))
        z_t = z_t.detach()
    log_q, log_p = ((z[where] / temperature).log_softmax(-1) for z in (z_s, z_t))
    pair = (out.hidden_states[-1][batch.kept] for out in (ours, theirs))
    if cosine_of == "logits":
        pair = (z_s[where], z_t[where])
    return (
        mlm * F.cross_entropy(z_s.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE)
        + soft * temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        + cosine * (1 - F.cosine_similarity(*pair, dim=-1)).mean()
    )


def plain_hop(student, teacher, batch, mapping, hidden, attention, soft, temperature):
    """Lines one by one without padding; means over all their elements."""
    layers = student.config.num_hidden_layers
    by_hidden, by_attention = layer_mapping(mapping, layers, teacher.config.num_hidden_layers)
    total, real = 0.0, int(batch.kept.sum())
    pairs = int(batch.kept.sum(1).square().sum())
    for row, length in enumerate(batch.kept.sum(1).tolist()):
        given = {
            "input_ids": batch.inputs[row, :length][None],
            "output_hidden_states": True,
            "output_attentions": True,
        }
        ours = student(**given)
        with torch.no_grad():
            theirs = teacher(**given)
        for layer, matched in by_hidden.items():
            target = sum(theirs.hidden_states[k] for k in matched) / len(matched)
            error = (ours.hidden_states[layer] - target).square()
            total = total + hidden * error.sum() / (real * error.shape[-1]) / layers
        for layer, matched in by_attention.items():
            target = sum(theirs.attentions[k - 1] for k in matched) / len(matched)
            error = (ours.attentions[layer - 1] - target).square()
            total = total + attention * error.sum() / (pairs * error.shape[1]) / layers
        log_q, log_p = ((out.logits[0] / temperature).log_softmax(-1) for out in (ours, theirs))
        total = (
            total
            + soft
            * temperature**2
            * F.kl_div(log_q, log_p, reduction="sum", log_target=True)
            / real
        )
    return total


def assert_same(objective, batch, loss, gradients):
    """The objective's loss and its whole gradient are these; no other parameter has one."""
    value = objective(batch, objective.counts(batch))["loss"]
    assert value.item() == pytest.approx(loss, rel=TOLERANCE)
    objective.student.zero_grad()
    value.backward()
    found = gradients_of(objective.student)
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    differences = [
        (found.get(name, torch.zeros(1)) - gradient).flatten()
        for name, gradient in gradients.items()
    ]
    assert torch.cat(differences).norm() <= TOLERANCE * norm
    assert all(float(found[name].norm()) < 1e-6 * norm for name in set(found) - set(gradients))


def gradients_of(student):
    parameters = student.named_parameters()
    return {name: p.grad.double() for name, p in parameters if p.grad is not None}


def assert_plain_and_fast_are(objective, batch, expected, student):
    """The plain objective gives the loss `expected` and the gradients of the double-precision
    `student`; the quickened one those of the plain objective."""
    expected.backward()
    assert_same(objective, batch, expected.item(), gradients_of(student))
    loss = objective(batch, objective.counts(batch))["loss"].item()
    gradients = gradients_of(objective.student)
    fast = quicken(copy.deepcopy(objective))
    assert any(isinstance(module, Layer) for module in fast.student.modules())
    assert_same(fast, batch, loss, gradients)


LOSSES = [losses for losses in itertools.product([0, 2], [0, 5], [0, 1]) if any(losses)]
COMPARED = [
    (*losses, positions, temperature)
    for losses in LOSSES
    for positions, temperature in (
        itertools.product(["all", "masked"], [0.5, 1.0, 2.0, 8.0]) if losses[1] else [("all", 2.0)]
    )
]


@pytest.mark.parametrize("mlm, soft, cosine, positions, temperature", COMPARED)
def test_distillation(library, networks, batch, mlm, soft, cosine, positions, temperature):
    student, teacher = copy.deepcopy(networks)
    losses = dict(mlm=mlm, soft=soft, cosine=cosine, temperature=temperature, positions=positions)
    objective = Distillation(student, teacher, **losses)
    exact, exact_teacher = (copy.deepcopy(model).double() for model in networks)
    expected = plain(exact, exact_teacher, batch, **losses)
    assert_plain_and_fast_are(objective, batch, expected, exact)


@pytest.mark.parametrize("mlm, soft, cosine", LOSSES)
@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize(
    "cosine_of, mlm_head", [("hidden", False), ("logits", True), ("logits", False)]
)
def test_distillation_as_the_code_of_000(
    library, networks, batch, mlm, soft, cosine, positions, cosine_of, mlm_head
):
    student, teacher = copy.deepcopy(networks)
    losses = dict(mlm=mlm, soft=soft, cosine=cosine, temperature=2.0, positions=positions)
    losses |= dict(cosine_of=cosine_of)
    objective = Distillation(student, teacher, mlm_head=mlm_head, **losses)
    exact, exact_teacher = (copy.deepcopy(model).double() for model in networks)
    expected = plain(exact, exact_teacher, batch, head=mlm_head, **losses)
    assert_plain_and_fast_are(objective, batch, expected, exact)
    if not mlm_head:
        trained = dict(objective.student.named_parameters())
        assert all(
            p.grad is None for key, p in trained.items() if key.startswith("cls.predictions.t")
        )


@pytest.mark.parametrize(
    "hidden, attention, soft", [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (2, 1, 3)]
)
@pytest.mark.parametrize("mapping", ["adjacent", "uniform", "top", "skip"])
def test_hop(library, networks, batch, mapping, hidden, attention, soft):
    student, teacher = copy.deepcopy(networks)
    losses = dict(hidden=hidden, attention=attention, soft=soft, temperature=4.0)
    objective = Hop(student, teacher, mapping, dropout="none", **losses)
    exact, exact_teacher = (copy.deepcopy(model).double() for model in networks)
    for model in (exact, exact_teacher):
        hand_out_attention(model)
    expected = plain_hop(exact, exact_teacher, batch, mapping, **losses)
    assert_plain_and_fast_are(objective, batch, expected, exact)


def test_gradients_of_tied_embeddings_accumulate_over_micro_batches(networks, batch):
    plain_one, fast = (Distillation(*copy.deepcopy(networks), soft=1.0) for _ in range(2))
    for objective in (plain_one, quicken(fast)):
        for _ in range(2):
            objective(batch, objective.counts(batch))["loss"].backward()
    words = [o.student.get_input_embeddings().weight.grad for o in (plain_one, fast)]
    assert torch.allclose(*words, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_under_autocast_it_is_as_near_to_double_precision_as_the_plain_path(
    library, networks, batch, positions
):
    weights = (2, 5, 1, positions, 2.0)
    reference, plain_one, ours = (copy.deepcopy(networks[0]) for _ in range(3))
    reference.double()
    plain(reference, copy.deepcopy(networks[1]).double(), batch, *weights).backward()
    objective = quicken(
        Distillation(ours, copy.deepcopy(networks[1]), mlm=2, soft=5, cosine=1, positions=positions)
    )
    with torch.autocast("cpu", torch.bfloat16):
        plain_loss = plain(plain_one, copy.deepcopy(networks[1]), batch, *weights)
        loss = objective(batch, objective.counts(batch))["loss"]
    plain_loss.backward()
    loss.backward()
    gradients = [
        torch.cat([p.grad.double().flatten() for p in model.parameters() if p.grad is not None])
        for model in (reference, plain_one, ours)
    ]
    exact, theirs, found = gradients
    assert (found - exact).norm() <= 1.2 * (theirs - exact).norm()
