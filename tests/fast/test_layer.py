"""A layer as one step of autograd against the library's layer: outputs, attention maps and every
gradient."""

import copy

import pytest
import torch
from torch.nn.utils import prune
from transformers.models.bert.modeling_bert import BertLayer

from lib.fast import layer as layers
from lib.fast.layer import Layer
from lib.fast.layer import states as fast_states
from lib.fast.quicken import quicken
from lib.training.batches import Batch
from lib.training.objectives import states
from tests.helpers import small

LENGTHS = [12, 7, 3]
KEPT = torch.arange(12) < torch.tensor(LENGTHS)[:, None]
IDS = torch.randint(5, 60, KEPT.shape, generator=torch.Generator().manual_seed(1)) * KEPT
BATCH = Batch(IDS, KEPT, IDS)


@pytest.fixture(autouse=True)
def a_sequence_at_a_time(monkeypatch):
    monkeypatch.setattr(layers, "MAPS", 2 * 12 * 12)


def encoder(dropout=0.0):
    return small.encoder(
        vocab_size=60,
        layers=3,
        hidden=32,
        intermediate=64,
        pad_id=0,
        initializer_range=0.3,
        dropout=dropout,
        seed=0,
    )


WEIGHTS = torch.randn(*KEPT.shape, 32, generator=torch.Generator().manual_seed(2)) * KEPT[..., None]


def gradients(model, batch=BATCH):
    model.zero_grad()
    out = model.base_model(
        input_ids=batch.inputs, attention_mask=batch.kept.long()
    ).last_hidden_state
    (out * WEIGHTS.to(out.dtype)).sum().backward()
    found = {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
    return found | {"output": (out * batch.kept[..., None]).detach().double()}


def far(found, exact):
    """The largest distance to what is exact, as a share of it; of the biases of keys, whose
    gradient is 0, of the largest one."""
    largest = max(
        float(value.norm())
        for name, value in exact.items()
        if "key.bias" in name or name != "output"
    )
    return {
        name: float((found[name] - value).norm())
        / (largest if "key.bias" in name else float(value.norm()))
        for name, value in exact.items()
    }


def test_outputs_and_gradients_are_the_librarys(library):
    plain = encoder()
    exact, ours = (
        gradients(copy.deepcopy(plain).double()),
        gradients(quick := quicken(copy.deepcopy(plain))),
    )
    assert all(isinstance(layer, Layer) for layer in quick.bert.encoder.layer)
    assert ours.keys() == exact.keys() and max(far(ours, exact).values()) < 1e-5


def test_under_autocast_they_are_no_further_from_exact_than_the_librarys(library):
    plain = encoder()
    exact = gradients(copy.deepcopy(plain).double())
    with torch.autocast("cpu", torch.bfloat16):
        theirs, ours = (
            far(gradients(copy.deepcopy(plain)), exact),
            far(gradients(quicken(copy.deepcopy(plain))), exact),
        )
    assert sum(ours.values()) < 1.1 * sum(theirs.values()) and max(ours.values()) < 0.2


def test_without_padding_there_is_no_mask(library):
    plain, whole = encoder(), torch.ones_like(KEPT)
    batch = Batch(IDS.clamp(min=5), whole, IDS)
    exact = gradients(copy.deepcopy(plain).double(), batch)
    assert max(far(gradients(quicken(plain), batch), exact).values()) < 1e-5


def test_maps_and_what_is_learnt_from_them(library):
    plain = encoder()
    eager, quick = copy.deepcopy(plain).double(), quicken(plain)
    eager.set_attn_implementation("eager")
    theirs = eager.base_model(
        input_ids=IDS, attention_mask=KEPT.long(), output_hidden_states=True, output_attentions=True
    )
    expected = sum(hidden[KEPT].pow(3).sum() for hidden in theirs.hidden_states)
    pairs = (KEPT[:, None, :, None] & KEPT[:, None, None]).expand(-1, 2, -1, -1)
    expected = expected + sum(maps[pairs].pow(2).sum() for maps in theirs.attentions[1:])
    hidden, attention = fast_states(quick, BATCH, {2, 3}, plain=None)
    assert len(hidden) == 4 and list(attention) == [2, 3]
    loss = sum(state[KEPT].pow(3).sum() for state in hidden)
    for number, maps in attention.items():
        loss = loss + maps[pairs].pow(2).sum()
        assert torch.allclose(
            maps.double()[pairs], theirs.attentions[number - 1][pairs], rtol=1e-4, atol=1e-6
        )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for model, found in ((eager, expected), (quick, loss)):
        model.zero_grad()
        found.backward()
    for (name, ours), exact in zip(quick.named_parameters(), eager.parameters()):
        if exact.grad is not None and "key.bias" not in name:
            assert float((ours.grad - exact.grad).norm()) < 1e-4 * float(exact.grad.norm()), name


def test_what_is_frozen_gets_no_gradient():
    model = quicken(encoder())
    model.bert.embeddings.requires_grad_(False)
    model.bert.encoder.layer[0].requires_grad_(False)
    model.bert.encoder.layer[1].attention.self.query.requires_grad_(False)
    found = gradients(model)
    assert not any(
        name.startswith(("bert.embeddings", "bert.encoder.layer.0."))
        or "1.attention.self.query" in name
        for name in found
    )
    every = gradients(quicken(encoder()))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert found.keys() == every.keys() - frozen
    assert all(torch.allclose(found[name], every[name], rtol=1e-5) for name in found)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_mask_may_differ_by_query(library, rows):
    """Such as that of several lines in one sequence, which do not see each other; one for all
    sequences, or one for each."""
    line = torch.arange(12) // torch.tensor([5, 4, 7])[:rows, None]
    mask = (line[:, :, None] == line[:, None])[:, None]
    plain, found = encoder(), []
    quick = quicken(copy.deepcopy(plain))
    exact = copy.deepcopy(plain).double()
    for model in (exact, quick):
        out = model.base_model(input_ids=IDS, attention_mask=mask).last_hidden_state
        (out * WEIGHTS.to(out.dtype)).sum().backward()
        found.append(
            {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
            | {"output": out.detach().double()}
        )
    assert max(far(found[1], found[0]).values()) < 1e-5


def test_a_backward_pass_inside_autocast_is_the_one_outside():
    model, found = quicken(encoder()), []
    for within in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (model.base_model(input_ids=IDS).last_hidden_state * WEIGHTS).sum()
            if within:
                loss.backward()
        if not within:
            loss.backward()
        found.append([p.grad for p in model.bert.encoder.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_there_is_no_second_derivative():
    model = quicken(encoder())
    loss = (model.base_model(input_ids=IDS).last_hidden_state ** 2).sum()
    weight = model.bert.encoder.layer[0].output.dense.weight
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize(
    "case", ["dropout", "eager", "double", "decoder", "fp16", "pruned", "hook", "adapter"]
)
def test_what_it_cannot_do_the_library_does(case, monkeypatch):
    monkeypatch.setattr(Layer, "step", lambda *_: pytest.fail("computed in one step"))
    model = quicken(encoder(dropout=0.5 if case == "dropout" else 0.0)).train()
    if case == "eager":
        model.set_attn_implementation("eager")
    model = model.double() if case == "double" else model
    model.config.is_decoder = case == "decoder"
    seen = []
    for layer in model.bert.encoder.layer:
        query = layer.attention.self.query
        if case == "pruned":
            prune.random_unstructured(query, "weight", 0.5)
        if case == "hook":
            query.register_forward_hook(lambda *_: seen.append(1))
        if case == "adapter":
            layer.attention.self.query = torch.nn.Sequential(query)
            layer.attention.self.query.weight = query.weight
    with torch.autocast("cpu", torch.float16, enabled=case == "fp16"):
        assert all(torch.isfinite(value).all() for value in gradients(model).values())
    assert len(seen) == 3 * (case == "hook")
    if case == "dropout":
        assert len(states(model, BATCH)[0]) == 4


def test_a_frozen_network_is_cast_once_and_is_saved_and_copied_without():
    frozen = quicken(encoder(), frozen=True)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        first = frozen(IDS).logits
        cast = frozen.bert.encoder.layer[0]._cast[1]
        assert (
            torch.equal(frozen(IDS).logits, first) and frozen.bert.encoder.layer[0]._cast[1] is cast
        )
    again = copy.deepcopy(frozen).bert.encoder.layer[0]
    assert again._cast is None and isinstance(again, Layer) and isinstance(again, BertLayer)
