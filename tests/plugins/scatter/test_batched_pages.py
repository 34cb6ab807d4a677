import json
from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from flowstone.plugins.scatter.batched_pages import BatchedPages
from flowstone.plugins.scatter.batching import Batching
from flowstone.plugins.scatter.records import NewItem


class Stored:
    """The rows of a barrier: batches, the keys of what is in them, and how far its reader was."""

    def __init__(self) -> None:
        self.rows: list[NewItem] = []
        self.hashes: set[bytes] = set()
        self.position = 0

    @property
    def batches(self) -> list[list[int]]:
        return [json.loads(it.item) for it in self.rows]

    async def known(self, hashes: list[bytes]) -> Collection[bytes]:
        return self.hashes & set(hashes)

    async def feed(
        self, pages: Sequence[Sequence[int]], batching: Batching, *, stops_after: int | None = None
    ) -> None:
        """Store what comes of the pages from where it stopped; die after so many pages."""
        batched = BatchedPages(
            batching,
            new_item=lambda it: NewItem.of(str(it), int(str(it))),
            known=self.known,
            index=len(self.rows),
        )
        for read, place in enumerate(range(self.position, len(pages))):
            if read == stops_after:
                return
            is_last = place == len(pages) - 1
            page = await batched.page(pages[place], {"position": place + 1}, is_last=is_last)
            self.rows += page.batches
            self.hashes |= set(page.hashes)
            if page.progress is not None:
                self.position = int(str(page.progress["position"]))


async def test_a_batch_takes_items_of_several_pages_and_progress_waits_for_it() -> None:
    stored = Stored()
    await stored.feed([[1, 2], [3, 4], [5, 6]], Batching(max_items=3), stops_after=2)
    assert (stored.batches, stored.position) == ([[1, 2, 3]], 1)
    await stored.feed([[1, 2], [3, 4], [5, 6]], Batching(max_items=3))
    assert (stored.batches, stored.position) == ([[1, 2, 3], [4, 5, 6]], 3)
    assert [it.key for it in stored.rows] == [
        '{"_batch":true,"index":0,"item_count":3}',
        '{"_batch":true,"index":1,"item_count":3}',
    ]


async def test_duplicates_are_in_one_batch_once_wherever_they_come() -> None:
    stored = Stored()
    await stored.feed([[1, 1, 2], [2, 3, 1], [3, 1]], Batching(max_items=2))
    assert stored.batches == [[1, 2], [3]]


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=8),
    st.sampled_from(
        [
            Batching(max_items=3),
            Batching(max_items=100),
            Batching(group_by=lambda it: it % 4, max_items_per_group=2),
            Batching(split=lambda items: [items[::2], items[1::2]]),
        ]
    ),
    st.lists(st.integers(0, 4), max_size=5),
)
async def test_a_reader_that_dies_again_and_again_loses_no_item_and_repeats_none(
    pages: list[list[int]], batching: Batching, stops: list[int]
) -> None:
    stored = Stored()
    for stop in stops:
        await stored.feed(pages, batching, stops_after=stop)
    await stored.feed(pages, batching)
    flat = [it for one in stored.batches for it in one]
    assert sorted(flat) == sorted({it for page in pages for it in page})
    assert stored.position == len(pages)
    keys = [json.loads(it.key or "") for it in stored.rows]
    assert [it["index"] for it in keys] == list(range(len(keys)))
