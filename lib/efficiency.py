"""What a training cost, in the terms of efficiency.csv."""

COST = ("tokens", "positions", "seconds", "waited")
"""What a row of a training's history says of all its steps so far: tokens that are no padding, positions computed, padding
included, seconds, and those of them in which the step waited for its batches."""


def expense(cost: dict[str, float]) -> dict[str, float]:
    """Tokens, seconds, tokens a second, padding as a share of the positions computed, and waiting for batches as a share of the
    time, from the figures of `COST`; absent ones are 0, where nothing was trained."""
    tokens, positions, seconds, waited = (cost.get(name, 0) for name in COST)
    return {
        "tokens_seen": int(tokens),
        "train_seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding_share": 1 - tokens / positions if positions else 0.0,
        "waiting_share": waited / seconds if seconds else 0.0,
    }
