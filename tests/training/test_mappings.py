"""lib.training.mappings: which layers are matched, by hand-written lists and by what must hold of
every depth."""

import pytest

from lib.training.mappings import layer_mapping

DEPTHS = [(n, N) for N in range(2, 13) for n in range(1, N)]


def test_adjacent_layer_averaging_of_one_layer():
    """004: "the average of layers six and seven of a teacher would be used to train the sixth layer
    of its student"."""
    hidden, attention = layer_mapping("adjacent", 6, 7)
    assert hidden == {0: [0, 1], 1: [1, 2], 2: [2, 3], 3: [3, 4], 4: [4, 5], 5: [5, 6], 6: [6, 7]}
    assert attention == {1: [1, 2], 2: [2, 3], 3: [3, 4], 4: [4, 5], 5: [5, 6], 6: [6, 7]}


def test_a_hop_of_two_layers_averages_three():
    assert layer_mapping("adjacent", 2, 4) == (
        {0: [0, 1, 2], 1: [1, 2, 3], 2: [2, 3, 4]},
        {1: [1, 2, 3], 2: [2, 3, 4]},
    )


@pytest.mark.parametrize(
    "name, layers, teacher_layers, expected",
    [
        ("uniform", 6, 12, [2, 4, 6, 8, 10, 12]),  # LightMBERT
        ("uniform", 3, 6, [2, 4, 6]),
        ("uniform", 4, 6, [2, 3, 5, 6]),  # 1.5 and 4.5 are rounded up
        ("uniform", 5, 6, [1, 2, 4, 5, 6]),  # 1.2 2.4 3.6 4.8 6
        ("top", 3, 6, [4, 5, 6]),
        ("top", 11, 12, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("skip", 6, 12, [2, 4, 6, 8, 10]),  # PKD-skip of BERT's six-layer student (Sun et al. 2019)
        ("skip", 1, 2, []),
    ],
)
def test_mappings_to_single_layers(name, layers, teacher_layers, expected):
    hidden, attention = layer_mapping(name, layers, teacher_layers)
    assert attention == {layer: [source] for layer, source in enumerate(expected, 1)}
    assert hidden == {0: [0]} | attention


@pytest.mark.parametrize("name", ["adjacent", "uniform", "top", "skip"])
def test_at_every_depth_targets_rise_and_exist(name):
    for layers, teacher_layers in DEPTHS:
        hidden, attention = layer_mapping(name, layers, teacher_layers)
        last = layers - (name == "skip")
        assert list(hidden) == list(range(last + 1)) and list(attention) == list(range(1, last + 1))
        for targets, lowest in ((hidden, 0), (attention, 1)):
            assert all(
                lowest <= source <= teacher_layers
                for sources in targets.values()
                for source in sources
            )
            assert all(max(targets[k]) < max(targets[k + 1]) for k in targets if k + 1 in targets)
        if name != "skip":
            assert (
                max(hidden[layers]) == max(attention[layers]) == teacher_layers
            )  # the top layer is always taught


@pytest.mark.parametrize("layers, teacher_layers", [(7, 6), (0, 6)])
def test_a_student_cannot_be_deeper(layers, teacher_layers):
    with pytest.raises(
        ValueError, match=f"a student of {layers} layers for a teacher of {teacher_layers}"
    ):
        layer_mapping("adjacent", layers, teacher_layers)
