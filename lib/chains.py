"""A chain of teacher assistants: one entry of a study's scenarios, expanded into its hops (004, section 3).

An entry with `hop` is a chain: from its teacher down to half of the teacher's layers, `hop` layers fewer at a time (1, 2, 3, or
`half`: all in one hop). Every hop is a stage and a scenario of its own, named `<chain>-<layers>`.
"""

from typing import NamedTuple

from lib.errors import InputError

OWN = ("hop", "hops", "teacher", "corpus")
"""Keys of a chain itself; all others are parameters of its hops."""
WEIGHTS = ("weight_hidden", "weight_attention", "weight_soft")


class Hop(NamedTuple):
    """One hop: the layers of the assistant, its optimizer steps, and which section of the corpus it reads (0: all)."""

    layers: int
    steps: int
    section: int


def depths(teacher_layers: int, hop: int | str) -> list[int]:
    """The layers of every assistant, from the first to the last, which has half of the teacher's; the last hop may be smaller.

    >>> depths(12, 1), depths(12, 3), depths(6, 2), depths(12, "half")
    ([11, 10, 9, 8, 7, 6], [9, 6], [4, 3], [6])
    """
    last = teacher_layers // 2
    size = teacher_layers - last if hop == "half" else int(hop)
    return [*range(teacher_layers - size, last, -size), last]


def expand(chain: dict, teacher_layers: int, total_steps: int, sections: int) -> list[Hop]:
    """The hops of a chain. All chains of a study have the same `total_steps`, shared out evenly among their hops, so that they
    compare; each hop of several reads a section of the corpus of its own, a single one reads everything.

    Raises ValueError for a `hop` that is not allowed, for more hops than sections, for less than a step a hop, and for `hops`
    that name a hop there is not.
    """
    hop = chain["hop"]
    if hop != "half" and (isinstance(hop, bool) or hop not in (1, 2, 3)):
        raise ValueError(f"hop = {hop!r}; allowed are 1, 2, 3 and half")
    layers = depths(teacher_layers, hop)
    unknown = set(chain.get("hops") or {}) - set(range(1, len(layers) + 1))
    if unknown:
        raise ValueError(f"hops: there is no hop {sorted(unknown, key=str)[0]!r}; there are 1 … {len(layers)}")
    if not trained(chain):
        return [Hop(count, 0, 0) for count in layers]
    if len(layers) > sections:
        raise ValueError(f"{len(layers)} hops, but its corpus has {sections} sections; each hop reads one of its own")
    if total_steps < len(layers):
        raise ValueError(f"total_steps = {total_steps}; allowed are {len(layers)} and more, one a hop")
    cuts = [round(total_steps * index / len(layers)) for index in range(len(layers) + 1)]
    return [Hop(count, cuts[index + 1] - cuts[index], index + 1 if len(layers) > 1 else 0)
            for index, count in enumerate(layers)]  # fmt: skip


def trained(chain: dict) -> bool:
    """Whether its assistants are trained at all; with all weights 0 they are the teacher's lowest layers as they are."""
    given = [chain.get(weight, default) for weight, default in zip(WEIGHTS, (1, 1, 0))]
    return any(given)


def values(chain: dict, common: dict, number: int) -> dict:
    """The parameters of the hop with this number (from 1): what all share, the chain's own, the hop's own."""
    own = (chain.get("hops") or {}).get(number) or {}
    return {**common, **{key: value for key, value in chain.items() if key not in OWN}, **own}


def check_teacher(layers, where: str) -> int:
    """The teacher's number of layers, which a chain must know before anything runs."""
    if not isinstance(layers, int) or layers < 2:
        raise InputError(f"{where}: layers must be given, at least 2, for a chain of teacher assistants")
    return layers
