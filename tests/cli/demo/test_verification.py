import base64
import hashlib
import os
from pathlib import Path

import pytest

from flowstone.cli.demo import verification
from flowstone.cli.demo.records import Tally
from flowstone.cli.demo.verification import Verifying, check, check_file, files_to_check
from tests.cli.demo.made_environment import MadeEnvironment


def digest(content: bytes, algorithm: str = "sha256") -> str:
    made = hashlib.new(algorithm, content).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


class TestAFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "file"
        file.write_bytes(b"content")
        return file

    def test_with_its_hash_is_ok(self, file: Path) -> None:
        assert check_file(str(file), digest(b"content"), 7) == ("ok", "", 7)

    def test_is_checked_without_a_recorded_size(self, file: Path) -> None:
        assert check_file(str(file), digest(b"content"), -1) == ("ok", "", 7)

    def test_of_another_size_is_changed_and_not_read(self, file: Path) -> None:
        state = check_file(str(file), digest(b"content"), 5_000)

        assert state == ("changed", "5,000 bytes recorded, 7 found", 0)

    def test_of_five_gigabytes_too_many_is_told_at_once(self, file: Path) -> None:
        os.truncate(file, 5_000_000_000)

        assert check_file(str(file), digest(b"content"), 7)[0] == "changed"

    def test_with_other_content_is_changed(self, file: Path) -> None:
        state = check_file(str(file), digest(b"another"), 7)

        assert state == ("changed", "same size, other content", 7)

    def test_that_is_not_there_is_missing(self, file: Path) -> None:
        assert check_file(f"{file}.gone", digest(b""), 0) == ("missing", "", 0)
        assert check_file(f"{file}/below", digest(b""), 0) == ("missing", "", 0)
        assert check_file("nul\0", digest(b""), 0) == ("missing", "", 0)

    def test_without_a_hash_is_unhashed(self, file: Path) -> None:
        assert check_file(str(file), "", 7) == ("unhashed", "", 0)

    @pytest.mark.parametrize("algorithm", ["crc32", "shake_128", "../sha256"])
    def test_with_an_unknown_algorithm_is_unhashed(self, file: Path, algorithm: str) -> None:
        assert check_file(str(file), f"{algorithm}=abc", 7) == ("unhashed", "", 0)

    def test_may_be_hashed_by_another_algorithm(self, file: Path) -> None:
        assert check_file(str(file), f"sha512={digest(b'content', 'sha512')}", 7)[0] == "ok"

    def test_is_never_a_pipe_that_blocks(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        state = check_file(str(tmp_path / "pipe"), digest(b""), -1)

        assert state == ("changed", "not a regular file", 0)

    def test_that_links_to_itself_is_unreadable(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")

        assert check_file(str(tmp_path / "loop"), digest(b""), 0)[0] == "unreadable"


class TestAnEnvironment:
    def test_as_it_was_installed_has_no_findings(self, made: MadeEnvironment) -> None:
        made.install("thing", files={"thing/a.py": b"a", "thing/b.py": b""})

        checked = made.verification()

        assert checked.total == Tally(ok=3, changed=0, missing=0, unreadable=0, unhashed=0)
        assert checked.findings == ()

    def test_tells_every_file_that_differs_and_whose_it_is(self, made: MadeEnvironment) -> None:
        made.install("good", files={"good.py": b"a"})
        made.install("hurt", files={"hurt/a.py": b"a", "hurt/b.py": b"b", "hurt/c.py": b"c"})
        made.write("hurt/a.py", b"A")
        (made.site / "hurt/b.py").unlink()

        checked = made.verification()

        assert checked.total.damaged == 2
        assert checked.tallies["good"].damaged == 0
        assert checked.tallies["hurt"] == Tally(
            ok=2, changed=1, missing=1, unreadable=0, unhashed=0
        )
        assert [(each.owner, each.path, each.problem) for each in checked.findings] == [
            ("hurt", "hurt/a.py", "changed"),
            ("hurt", "hurt/b.py", "missing"),
        ]

    def test_finds_files_whose_names_are_not_utf_8(self, made: MadeEnvironment) -> None:
        name = os.fsdecode(b"gr\xf6\xdfe.txt")
        made.install("thing", files={name: b"content"})

        assert made.verification().total.ok == 2

        made.write(name, b"changed")

        assert [each.path for each in made.verification().findings] == [r"gr\udcf6\udcdfe.txt"]

    def test_keeps_a_limited_number_of_findings_and_counts_all(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification, "MOST_FINDINGS", 3)
        made.install("gone", record=[f"gone/{number}.py,sha256=x,1" for number in range(200)])

        checked = made.verification()

        assert checked.total.missing == 200
        assert len(checked.findings) == 3

    def test_tells_files_that_two_claim(self, made: MadeEnvironment) -> None:
        made.install("one", files={"both.py": b"", "one.py": b""})
        made.install("two", files={"both.py": b"", "two.py": b""})

        assert made.verification().shared == {str(made.site / "both.py"): ("one", "two")}

    def test_is_the_same_in_whatever_order_its_files_come(self, made: MadeEnvironment) -> None:
        made.install("many", files={f"many/{n}.py": str(n).encode() for n in range(30)})
        made.write("many/7.py", b"8")
        recorded = made.inventory().recorded
        one, other = Verifying(), Verifying()
        files = list(files_to_check(recorded))
        for verifying, order in ((one, files), (other, files[::-1])):
            for file in order:
                verifying.add(file, check(file))

        assert one.verification(recorded).tallies == other.verification(recorded).tallies
        assert one.verification(recorded).total.changed == 1

    def test_without_anything_installed_has_nothing_to_check(self, made: MadeEnvironment) -> None:
        assert made.verification().total.total == 0
