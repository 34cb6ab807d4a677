"""A pipeline of three sums, and how often each was computed."""

from collections import Counter

from flowstone import Dep, Pipeline


def sums() -> tuple[Pipeline, Counter[str]]:
    """numbers → doubled → total, and how often each was computed."""
    p, computed = Pipeline("sums"), Counter[str]()

    @p.asset
    async def numbers() -> list[int]:
        computed["numbers"] += 1
        return [1, 2, 3, 4, 5]

    @p.asset
    def doubled(numbers: list[int] = Dep(numbers)) -> list[int]:
        computed["doubled"] += 1
        return [number * 2 for number in numbers]

    @p.asset
    async def total(doubled: list[int] = Dep(doubled)) -> int:
        computed["total"] += 1
        return sum(doubled)

    return p, computed
