from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.plugins.scatter.batcher import Batcher, BatchingError
from flowstone.plugins.scatter.batching import Batching


def put_together(items: Sequence[int], **options: object) -> list[list[int]]:
    batcher = Batcher[int](Batching(**options))  # type: ignore[arg-type]
    return batcher.add(items) + batcher.close()


@pytest.mark.conformance(277, 278)
def test_batches_are_as_large_as_they_may_be_and_in_order() -> None:
    assert put_together([1, 2, 3, 4, 5], max_items=2) == [[1, 2], [3, 4], [5]]
    assert put_together([1, 2], max_items=10) == [[1, 2]]
    assert put_together([], max_items=10) == []


@pytest.mark.conformance(279, 280)
@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([5, 16, 1, 12], [[1], [2, 3], [4]]),
        ([5, 100, 4], [[1], [2], [3]]),
        ([10, 10, 1], [[1, 2], [3]]),
        ([100], [[1]]),
    ],
)
def test_a_batch_is_no_larger_than_its_bytes_unless_one_item_is(
    sizes: list[int], batches: list[list[int]]
) -> None:
    items = range(1, len(sizes) + 1)
    assert put_together(items, max_bytes=20, size=lambda it: sizes[it - 1]) == batches


def test_bytes_and_items_both_limit_a_batch() -> None:
    assert put_together(range(25), max_bytes=1_000, size=lambda _: 1)[0] == list(range(10))
    assert put_together(range(25), max_items=None, max_bytes=12, size=lambda _: 1) == [
        list(range(12)),
        list(range(12, 24)),
        [24],
    ]


@pytest.mark.conformance(281)
def test_groups_are_never_mixed_and_keep_their_order() -> None:
    batches = put_together([1, 2, 3, 4, 5], group_by=lambda it: it % 2, max_items_per_group=2)
    assert sorted(batches) == [[1, 3], [2, 4], [5]]


@pytest.mark.conformance(282, 298)
def test_a_group_is_limited_by_its_own_limit_or_the_one_of_batches() -> None:
    def one_group(_: int) -> str:
        return "all"

    limited = put_together(range(10), group_by=one_group, max_items_per_group=3)
    assert [len(it) for it in limited] == [3, 3, 3, 1]
    assert [len(it) for it in put_together(range(12), group_by=one_group)] == [10, 2]


@pytest.mark.conformance(283, 284)
def test_a_function_of_ones_own_decides_alone_and_empty_batches_are_dropped() -> None:
    def odd_and_even(items: list[int]) -> list[list[int]]:
        return [[it for it in items if it % 2 == rest] for rest in (1, 0)]

    assert put_together([1, 2, 3, 4], split=odd_and_even) == [[1, 3], [2, 4]]
    assert put_together([1, 2], split=lambda items: [items, [], []]) == [[1, 2]]
    assert put_together([], split=odd_and_even) == []


@pytest.mark.parametrize("returned", [[[1]], [[1, 2], [2]], [[1, 2, 3]], [1, 2], None])
def test_a_function_that_loses_or_repeats_an_item_is_refused(returned: object) -> None:
    with pytest.raises(BatchingError, match="split"):
        put_together([1, 2], split=lambda _: returned)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group_by": lambda _: []}, "group_by failed for 1"),
        ({"max_bytes": 5, "size": lambda _: -1}, "size gave -1"),
        ({"max_bytes": 5, "size": lambda _: None}, "size gave None"),
        ({"max_bytes": 5, "size": lambda it: it / 0}, "size failed for 1: ZeroDivisionError"),
    ],
)
def test_a_rule_that_fails_names_the_item(options: dict[str, object], said: str) -> None:
    with pytest.raises(BatchingError, match=said):
        put_together([1], **options)


def test_no_more_than_so_many_items_are_held_back() -> None:
    batcher = Batcher[str](Batching(group_by=lambda it: it[0]), most_held=4)
    assert batcher.add(["a1", "b1", "c1"]) == []
    assert batcher.add(["b2"]) == [["a1"]]
    assert batcher.add(["b3", "a2"]) == [["b1", "b2", "b3"]]
    assert batcher.close() == [["c1"], ["a2"]]


RULES = st.one_of(
    st.builds(Batching, max_items=st.integers(1, 7)),
    st.builds(
        Batching, max_items=st.integers(1, 7), max_bytes=st.integers(1, 30), size=st.just(abs)
    ),
    st.builds(
        Batching,
        group_by=st.just(lambda it: it % 3),
        max_items_per_group=st.integers(1, 5),
    ),
    st.builds(
        Batching,
        group_by=st.just(lambda it: it % 3),
        max_bytes=st.integers(1, 30),
        size=st.just(abs),
    ),
    st.builds(Batching, split=st.just(lambda items: [items[::2], items[1::2]])),
)


@given(
    RULES,
    st.lists(st.lists(st.integers(-20, 20), max_size=12), max_size=8),
    st.integers(1, 25),
)
def test_every_item_is_in_one_batch_within_its_limits_however_it_comes(
    rules: Batching, pages: list[list[int]], most_held: int
) -> None:
    batcher = Batcher[int](rules, most_held=most_held)
    batches: list[list[int]] = []
    came: list[int] = []
    for page in pages:
        batches += batcher.add(page)
        came += page
        out = [it for batch in batches for it in batch]
        assert batcher.added == len(came)
        assert batcher.held == len(came) - len(out) < most_held
        # What is called complete is in batches, and what comes next is not.
        waiting = list(came)
        for it in out:
            waiting.remove(it)
        assert batcher.complete <= len(out)
        assert (batcher.complete == len(came)) == (not waiting)
    batches += batcher.close()
    assert sorted(it for batch in batches for it in batch) == sorted(came)
    assert batcher.held == 0
    assert batcher.complete == len(came)
    for one in batches:
        assert one
        if rules.most is not None and rules.split is None:
            assert len(one) <= rules.most
        if rules.max_bytes is not None and len(one) > 1:
            assert sum(map(abs, one)) <= rules.max_bytes
        if rules.group_by is not None:
            assert len({rules.group_by(each) for each in one}) == 1


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 7), st.integers(0, 40))
def test_without_groups_batches_do_not_depend_on_the_pages(
    items: list[int], most: int, cut: int
) -> None:
    rules = Batching(max_items=most, max_bytes=20, size=abs)
    whole, parted = Batcher[int](rules), Batcher[int](rules)
    assert parted.add(items[:cut]) + parted.add(items[cut:]) + parted.close() == (
        whole.add(items) + whole.close()
    )
