"""How many steps to either side each network depends on: its receptive field. No torch.

None stands for all of them. `inference` asks here where a network runs as a graph; the networks
themselves say the same.
"""

from __future__ import annotations

KERNEL = 3  # of the convolutions over time of a pyramid
HEAD_LAYERS = 2  # of its towers, before the one that gives the output
TCN_KERNEL = 3
TCN_DILATIONS = (1, 2, 4)  # of one layer, which so reads 7 steps to either side
GRAPH_ROUNDS = 2  # a message reaches another stream's neighbouring steps
CHANGE = 1  # of the front end `change`, where no step is missing


def of_temporal(name: str, layers: int) -> int | None:
    """Return the receptive field of a temporal network."""
    if name == "tcn":
        return layers * sum(TCN_DILATIONS) * (TCN_KERNEL - 1) // 2
    return 0 if name == "none" else None


def of_fusion(name: str) -> int:
    """Return the receptive field of a fusion."""
    return GRAPH_ROUNDS if name == "graph" else 0


def of_fused(temporal: str, layers: int, fusion: str, *, only_text: bool = False) -> int | None:
    """Return on how many steps depends what a head is given.

    Where a stream is absent for longer than that, the change at its return is another one.
    `only_text`: no stream goes through a temporal network.
    """
    over_time = 0 if only_text else of_temporal(temporal, layers)
    return None if over_time is None else CHANGE + over_time + of_fusion(fusion)


def of_pyramid(levels: int) -> int:
    """Return the receptive field of a pyramid.

    Of each scale a convolution in its block and one on the way to it, which steps half as wide; of
    the coarsest one those of a tower too.
    """
    half = KERNEL // 2
    blocks = sum(half << level for level in range(levels))
    ways = sum(half << (level - 1) for level in range(1, levels))
    return blocks + ways + half * (HEAD_LAYERS + 1) * coarsest(levels)


def coarsest(levels: int) -> int:
    """Return how many steps the points of the coarsest scale of a pyramid lie apart."""
    return 1 << (levels - 1)
