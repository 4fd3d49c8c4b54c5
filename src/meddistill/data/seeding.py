"""One small hash from numbers to seeds, so that randomness never depends on the order of work."""

from __future__ import annotations

_MASK = 2**64 - 1


def mixed_seed(*numbers: int) -> int:
    """A seed in 0..2**32-1 that depends on every number and on their order.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), chained.

    Example:
        >>> mixed_seed(0, 1, 2) == mixed_seed(0, 1, 2), mixed_seed(0, 1, 2) == mixed_seed(0, 2, 1)
        (True, False)
    """
    state = 0
    for number in numbers:
        state = (state + (number & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 32
