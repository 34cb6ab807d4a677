import os

from flowstone.cli.demo.records import Unowned, Weight
from flowstone.cli.demo.unowned_files import find_unowned
from tests.cli.demo.made_environment import MadeEnvironment


def found(made: MadeEnvironment) -> Unowned | None:
    return find_unowned(made.distributions(), made.inventory())


def test_what_is_recorded_belongs_to_its_distribution(made: MadeEnvironment) -> None:
    made.install("thing", files={"thing/a.py": b"", os.fsdecode(b"\xff.txt"): b""})

    assert found(made) == Unowned((), 0, 0)


def test_what_nobody_recorded_is_told_by_folder_the_largest_first(made: MadeEnvironment) -> None:
    made.install("thing", files={"thing/a.py": b""})
    made.write("thing/patch.py", b"12")
    made.write("stray.pth", b"1")
    made.write("left/behind/a.py", b"123")
    made.write("left/b.py", b"456")

    assert found(made) == Unowned(
        groups=(
            Weight("left/", "", 2, 6),
            Weight("thing/", "", 1, 2),
            Weight("stray.pth", "", 1, 1),
        ),
        file_count=4,
        size=9,
    )


def test_bytecode_belongs_to_python(made: MadeEnvironment) -> None:
    made.install("thing")
    made.write("thing/__pycache__/a.cpython-311.pyc")
    made.write("thing/__pycache__/note.txt")
    made.write("old.pyc")

    assert found(made) == Unowned((), 0, 0)


def test_a_distribution_without_a_record_is_believed_its_modules(made: MadeEnvironment) -> None:
    made.install("thing")
    info = made.install("vague", beside={"top_level.txt": b"vague\nsingle\n"})
    (info / "RECORD").unlink()
    made.write("vague/a.py")
    made.write("single.py")
    made.write("vaguely/b.py")

    unclaimed = found(made)

    assert unclaimed is not None
    assert [each.name for each in unclaimed.groups] == ["vaguely/"]


def test_is_not_looked_for_where_nothing_was_recorded(made: MadeEnvironment) -> None:
    (made.install("packaged") / "RECORD").unlink()
    made.write("stray.py")

    assert found(made) is None


def test_links_out_of_the_folder_are_not_followed(made: MadeEnvironment) -> None:
    made.install("thing")
    made.write("../elsewhere/a.py")
    (made.site / "link").symlink_to(made.site.parent / "elsewhere")

    unclaimed = found(made)

    assert unclaimed is not None
    assert [each.name for each in unclaimed.groups] == ["link"]
