import os

import pytest

from flowstone.cli.demo.records import Weight
from flowstone.cli.demo.sizes import kind, weigh
from tests.cli.demo.made_environment import MadeEnvironment


def test_the_largest_come_first_and_everything_is_counted(made: MadeEnvironment) -> None:
    made.install("small", files={"small.py": b"1"}, beside={"METADATA": b""})
    made.install("big", files={"big/a.so": b"1" * 50, "big/b.py": b"1" * 20})

    found = weigh(made.inventory().recorded, most=2)

    assert [each.name for each in found.files] == ["big/a.so", "big-1.0.dist-info/METADATA"]
    assert [each.owner for each in found.distributions] == ["big", "small"]
    assert found.file_count == 5
    assert found.size == sum(each.size for each in found.distributions)
    assert found.distributions[1] == Weight("small", "small", 2, 1)


def test_what_counts_is_the_disk_not_the_record(made: MadeEnvironment) -> None:
    made.install("thing", record=["thing.bin,,1", "gone.bin,,999999"])
    os.truncate(made.write("thing.bin"), 6_000_000_000)

    found = weigh(made.inventory().recorded)

    assert found.files == (Weight("thing.bin", "thing", 1, 6_000_000_000),)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.py", ".py"),
        ("a/B.PY", ".py"),
        ("a/lib.cpython-311-x86_64-linux-gnu.so", "compiled library"),
        ("a.libs/libpq.so.5.16", "compiled library"),
        ("a/b.dll", "compiled library"),
        ("../../../bin/tool", "no suffix"),
        ("a/.hidden", "no suffix"),
    ],
)
def test_a_file_is_sorted_by_its_name(path: str, expected: str) -> None:
    assert kind(path) == expected


def test_nothing_takes_no_room(made: MadeEnvironment) -> None:
    found = weigh(made.inventory().recorded)

    assert (found.files, found.distributions, found.size) == ((), (), 0)
