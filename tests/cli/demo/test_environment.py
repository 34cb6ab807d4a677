import json
import os
import shutil
from pathlib import Path

import pytest

from flowstone.cli.demo import environment
from flowstone.cli.demo.environment import (
    OtherEnvironmentError,
    fingerprint,
    installed,
    require_same_environment,
    site_folders,
)
from tests.cli.demo.made_environment import MadeEnvironment


class TestADistribution:
    def test_tells_what_its_metadata_says(self, made: MadeEnvironment) -> None:
        made.install(
            "nice-thing",
            "2.1",
            headers=[
                "Summary: Does things",
                "License-Expression: MIT",
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: Topic :: Software Development",
            ],
            requires=["other>=1", "more; extra == 'all'"],
            beside={"INSTALLER": b"pip\n"},
        )

        found = made.only()

        assert (found.name, found.version, found.summary) == ("nice-thing", "2.1", "Does things")
        assert found.license_expression == "MIT"
        assert found.license_classifiers == ("OSI Approved :: MIT License",)
        assert found.requires == ("other>=1", "more; extra == 'all'")
        assert found.installer == "pip"
        assert found.info == "nice_thing-2.1.dist-info"
        assert found.is_recorded
        assert not found.problem

    def test_without_a_name_is_called_as_its_folder(self, made: MadeEnvironment) -> None:
        made.install("lost", "3.0", beside={"METADATA": b"Metadata-Version: 2.1\n"})

        assert (made.only().name, made.only().version) == ("lost", "3.0")
        assert made.only().problem == "its metadata has no name"

    def test_whose_metadata_is_not_utf_8_is_reported_not_lost(self, made: MadeEnvironment) -> None:
        made.install("latin", beside={"METADATA": b"Name: latin\nSummary: gr\xf6\xdfe\n"})

        assert made.only().name == "latin"
        assert made.only().problem.startswith("metadata cannot be read")

    def test_without_any_metadata_is_reported(self, made: MadeEnvironment) -> None:
        (made.site / "empty-1.0.dist-info").mkdir()

        assert (made.only().name, made.only().version) == ("empty", "1.0")
        assert made.only().problem
        assert not made.only().is_recorded

    def test_cannot_bring_control_characters(self, made: MadeEnvironment) -> None:
        made.install("sly", headers=["Summary: \x1b[2Jboo\0"])

        assert made.only().summary == "�[2Jboo�"

    def test_keeps_the_first_line_of_a_license_that_is_a_whole_text(
        self, made: MadeEnvironment
    ) -> None:
        made.install("long", headers=["License: ", "  The Long License", "  more", "  and more"])

        assert made.only().license_text == "The Long License"

    def test_that_says_unknown_says_nothing(self, made: MadeEnvironment) -> None:
        made.install("old", headers=["License: UNKNOWN", "Summary: UNKNOWN"])

        assert (made.only().license_text, made.only().summary) == ("", "")

    def test_has_its_license_file_read_only_where_no_field_names_one(
        self, made: MadeEnvironment
    ) -> None:
        text = {"licenses/LICENSE.txt": b"MIT License\n\nCopyright"}
        made.install("a-mute", beside=text, headers=["License-File: LICENSE.txt"])
        made.install("b-told", beside=text, headers=["License: BSD"])

        mute, told = made.distributions()

        assert mute.license_file == "MIT License Copyright"
        assert told.license_file == ""

    @pytest.mark.parametrize(
        ("direct_url", "origin"),
        [
            (
                {"url": "file:///src/mine", "dir_info": {"editable": True}},
                "editable file:///src/mine",
            ),
            (
                {
                    "url": "https://me:secret@example.org/repo",
                    "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"},
                },
                "git https://example.org/repo 0123456789ab",
            ),
            ({"url": "file:///wheels/a.whl", "archive_info": {}}, "file:///wheels/a.whl"),
            (["not", "an", "object"], ""),
        ],
    )
    def test_tells_its_origin_without_credentials(
        self, made: MadeEnvironment, direct_url: object, origin: str
    ) -> None:
        made.install("mine", beside={"direct_url.json": json.dumps(direct_url).encode()})

        assert made.only().origin == origin

    def test_with_a_damaged_origin_is_read_nevertheless(self, made: MadeEnvironment) -> None:
        made.install("mine", beside={"direct_url.json": b"{"})

        assert made.only().origin == "direct_url.json cannot be read"

    def test_may_be_a_single_egg_info_file(self, made: MadeEnvironment) -> None:
        made.write("ancient-0.9-py3.11.egg-info", b"Metadata-Version: 1.0\nName: ancient\n")

        assert (made.only().name, made.only().version) == ("ancient", "0.9")
        assert not made.only().is_recorded


class TestAnEnvironment:
    def test_marks_the_second_of_a_name_as_shadowed(
        self, made: MadeEnvironment, tmp_path: Path
    ) -> None:
        made.install("Twice.Here", "1.0")
        behind = MadeEnvironment(tmp_path / "behind")
        behind.install("twice-here", "2.0")

        found = installed([made.site, behind.site]).distributions

        assert [(each.version, each.is_shadowed) for each in found] == [
            ("1.0", False),
            ("2.0", True),
        ]
        assert found[1].label == "twice-here 2.0 (shadowed)"

    def test_tells_installations_that_were_broken_off(self, made: MadeEnvironment) -> None:
        (made.site / "~ip-24.0.dist-info").mkdir()

        found = installed([made.site])

        assert found.distributions == ()
        assert found.leftovers == (str(made.site / "~ip-24.0.dist-info"),)

    def test_is_empty_where_there_is_no_folder(self, tmp_path: Path) -> None:
        assert installed([tmp_path / "nowhere"]).distributions == ()

    def test_is_looked_for_in_folders_that_exist(self) -> None:
        assert site_folders()
        assert all(folder.is_dir() for folder in site_folders())


class TestTheFingerprint:
    @pytest.fixture(autouse=True)
    def thing(self, made: MadeEnvironment) -> None:
        made.install("thing", files={"thing/__init__.py": b"x = 1\n"})

    def test_stays_while_nothing_is_touched(self, made: MadeEnvironment) -> None:
        assert fingerprint([made.site]) == fingerprint([made.site])

    def test_stays_when_bytecode_is_written(self, made: MadeEnvironment) -> None:
        before = fingerprint([made.site])

        made.write("thing/__pycache__/__init__.cpython-311.pyc", b"...")
        made.write("other.pyc", b"...")

        assert fingerprint([made.site]) == before

    def test_changes_its_state_when_a_file_is_edited(self, made: MadeEnvironment) -> None:
        where, before = fingerprint([made.site]).split("-")
        file = made.write("thing/__init__.py", b"x = 2\n")
        os.utime(file, ns=(1, 1))

        assert fingerprint([made.site]).split("-")[0] == where
        assert fingerprint([made.site]).split("-")[1] != before

    def test_changes_its_state_when_a_script_outside_is_edited(self, made: MadeEnvironment) -> None:
        script = made.write("../bin/tool", b"#!python\n")
        made.install("tool", record=["../bin/tool,,"])
        before = fingerprint([made.site])

        script.write_bytes(b"#!another python\n")

        assert fingerprint([made.site]) != before

    def test_changes_its_state_when_a_file_of_nobody_appears(self, made: MadeEnvironment) -> None:
        before = fingerprint([made.site])

        made.write("thing/extra.py")

        assert fingerprint([made.site]) != before

    def test_is_of_another_environment_when_a_version_changes(self, made: MadeEnvironment) -> None:
        before = fingerprint([made.site])

        shutil.rmtree(made.site / "thing-1.0.dist-info")
        made.install("thing", "2.0")

        assert fingerprint([made.site]).split("-")[0] != before.split("-")[0]

    def test_of_another_machine_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "site_folders", lambda: ())
        here = fingerprint()

        require_same_environment(here)
        require_same_environment(f"{here.split('-')[0]}-00000000")
        with pytest.raises(OtherEnvironmentError, match="0badcafe-00000000"):
            require_same_environment("0badcafe-00000000")
