import pytest

from flowstone.plugins.scatter.batches import Batch, ItemFailedError


@pytest.mark.conformance(285)
def test_a_batch_knows_its_items_its_place_and_what_all_share() -> None:
    b = Batch(["x", "y"], {"env": "test"}, index=0, count=3)
    assert b.key == {"_batch": True, "index": 0, "item_count": 2}
    assert (list(b), len(b), b.index, b.count, b.input) == (["x", "y"], 2, 0, 3, {"env": "test"})


def test_an_items_error_fails_its_batch_and_names_the_item() -> None:
    b = Batch(["x", "y"], index=4)
    with pytest.raises(KeyError) as caught, b.item("y"):
        raise KeyError("id")
    assert caught.value.__notes__ == ["at item 1 of 2 in batch 4"]
    with pytest.raises(ItemFailedError, match="quota"):
        b.fail("x", "quota")
    assert not b.errors


def test_collected_errors_end_their_item_only() -> None:
    b = Batch(["x", "y", "z"], collects_errors=True)
    with b.item("y"):
        raise KeyError("id")
    b.fail("z", "quota")
    b.require_one()
    assert b.error_records() == [
        {"index": 1, "type": "KeyError", "message": "'id'"},
        {
            "index": 2,
            "type": "flowstone.plugins.scatter.batches.ItemFailedError",
            "message": "quota",
        },
    ]


def test_a_batch_of_which_every_item_failed_has_failed() -> None:
    b = Batch(["x", "y"], collects_errors=True)
    for item in b:
        b.fail(item, ValueError("bad"))
    with pytest.raises(ItemFailedError, match=r"each of the 2 items failed.*ValueError: bad"):
        b.require_one()
    Batch([], collects_errors=True).require_one()


def test_cancelling_is_no_items_error() -> None:
    b = Batch(["x", "y"], collects_errors=True)
    with pytest.raises(KeyboardInterrupt), b.item("x"):
        raise KeyboardInterrupt
    assert not b.errors


def test_of_items_that_are_equal_the_one_that_is_meant_fails() -> None:
    first, second = [1], [1]
    b = Batch([first, second], collects_errors=True)
    b.fail(second, "bad")
    assert list(b.errors) == [1]


def test_only_an_item_of_the_batch_can_fail() -> None:
    with pytest.raises(ValueError, match="not in"), Batch(["x"]).item("y"):
        pass
