import os

import pytest

from flowstone.cli.demo.recorded_files import paths_of
from flowstone.cli.demo.records import Folder, RecordedFiles
from tests.cli.demo.made_environment import MadeEnvironment, recorded


def listed(files: RecordedFiles) -> dict[str, tuple[str, int, int]]:
    return {
        os.path.join(folder.path, name): (digest, size, found)
        for folder in files.folders
        for name, digest, size, found in zip(
            folder.names, folder.digests, folder.recorded_sizes, folder.sizes, strict=True
        )
    }


def of(made: MadeEnvironment, *lines: str) -> RecordedFiles:
    made.install("thing", record=lines)
    (files,) = made.inventory().recorded
    return files


class TestARecord:
    def test_is_kept_by_folder(self, made: MadeEnvironment) -> None:
        content = b"x = 1\n"
        made.write("thing/a.py", content)
        digest = recorded("", content).split("sha256=")[1].split(",")[0]

        files = of(made, recorded("thing/a.py", content), "thing/gone.py,sha256=abc,7")

        assert files.folders == (
            Folder(
                path="thing",
                names=("a.py", "gone.py"),
                digests=(digest, "abc"),
                recorded_sizes=(6, 7),
                sizes=(6, -1),
            ),
        )

    def test_leaves_itself_and_bytecode_out(self, made: MadeEnvironment) -> None:
        files = of(made, "a.py,,", "__pycache__/a.cpython-311.pyc,,")

        assert list(listed(files)) == ["a.py"]
        assert files.bytecode_count == 1
        assert made.inventory().file_count == 1

    def test_keeps_the_algorithm_if_it_is_another(self, made: MadeEnvironment) -> None:
        files = of(made, "a,md5=XYZ==,1", "b,sha256=,1", "c,nonsense,1")

        assert [digest for digest, _, _ in listed(files).values()] == ["md5=XYZ", "", ""]

    @pytest.mark.parametrize(
        ("written", "size"),
        [
            ("5000000000", 5_000_000_000),
            ("9" * 15, 999_999_999_999_999),
            ("9" * 40, -1),
            ("-1", -1),
            ("x", -1),
            ("٣", -1),
            ("", -1),
        ],
    )
    def test_takes_only_sizes_that_can_be(
        self, made: MadeEnvironment, written: str, size: int
    ) -> None:
        assert listed(of(made, f"a,,{written}"))["a"][1] == size

    def test_reads_names_that_are_quoted(self, made: MadeEnvironment) -> None:
        made.write("a, b.txt", b"12")

        assert listed(of(made, '"a, b.txt",,2'))["a, b.txt"] == ("", 2, 2)

    def test_reads_names_that_are_not_utf_8(self, made: MadeEnvironment) -> None:
        name = os.fsdecode(b"gr\xf6\xdfe.txt")
        made.write(name, b"12")

        files = of(made, f"{name},,2")

        assert listed(files) == {r"gr\udcf6\udcdfe.txt": ("", 2, 2)}
        assert list(paths_of(files)) == [str(made.site / name)]

    def test_keeps_lines_that_make_no_sense_aside(self, made: MadeEnvironment) -> None:
        files = of(made, "a,,", ",sha256=x,1", "b,c,d,e,f", "")

        assert list(listed(files)) == ["a"]
        assert files.malformed == (",sha256=x,1", "b,c,d,e,f")

    def test_survives_a_field_without_end(self, made: MadeEnvironment) -> None:
        files = of(made, "a,,", '"' + "x" * 200_000)

        assert list(listed(files)) == ["a"]
        assert files.malformed == (",field larger than field limit (131072)",)

    def test_survives_nul(self, made: MadeEnvironment) -> None:
        assert list(listed(of(made, "a\0b,,1"))) == ["a\ufffdb"]

    def test_may_lead_out_of_the_site_folder(self, made: MadeEnvironment) -> None:
        script = made.write("../bin/tool", b"#!")

        files = of(made, "../bin/tool,,2", f"{script},,2")

        assert [size for _, _, size in listed(files).values()] == [2, 2]
        assert set(paths_of(files)) == {os.path.normpath(script)}


def test_a_distribution_without_a_record_has_no_files(made: MadeEnvironment) -> None:
    (made.install("thing") / "RECORD").unlink()

    assert made.inventory().recorded == ()
