import pytest

from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.scatter.batches import Batch
from flowstone.plugins.scatter.batching import Batching, batch


@pytest.mark.conformance(274)
def test_without_options_a_batch_has_ten_items_and_fails_with_one_of_them() -> None:
    rules = Batching()
    assert (rules.max_items, rules.on_item_error) == (10, "fail_batch")
    others = (rules.max_bytes, rules.size, rules.group_by, rules.max_items_per_group)
    assert others == (None, None, None, None)
    assert (rules.split, rules.input) == (None, None)


@pytest.mark.conformance(275, 276)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_items": 0}, "max_items=0"),
        ({"max_items": -1}, "max_items=-1"),
        ({"max_items": 10_001}, "1 to 10000"),
        ({"max_items": True}, "max_items=True"),
        ({"max_items": None}, "without any limit"),
        ({"max_bytes": 0, "size": len}, "max_bytes=0"),
        ({"max_bytes": "much", "size": len}, "max_bytes='much' is no size"),
        ({"max_bytes": 5}, "needs size="),
        ({"size": len}, "needs max_bytes="),
        ({"size": 3, "max_bytes": 5}, "size=3 must be a function"),
        ({"max_items_per_group": 3}, "needs group_by="),
        ({"max_items_per_group": 0, "group_by": len}, "max_items_per_group=0"),
        ({"split": len, "max_items": 3}, "split= decides alone"),
        ({"split": len, "group_by": len}, "split= decides alone"),
        ({"max_item": 3}, "no option 'max_item'; it has input, max_items"),
        ({"on_item_error": "ignore"}, "fail_batch, collect_errors"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        batch(**options)  # type: ignore[call-overload]


def test_bytes_are_written_as_people_do() -> None:
    @batch(max_bytes="4MiB", size=len)
    def body(b: Batch[str, None]) -> None: ...

    assert body.batching.max_bytes == 4 * 2**20
