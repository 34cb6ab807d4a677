from dataclasses import replace

from flowstone.cli.demo.records import Report, Startup, StartupFile
from tests.cli.demo.made_environment import MadeEnvironment


def titles(report: Report, level: str) -> list[str]:
    return [each.title for each in report.surprises if each.level == level]


class TestTheVerdict:
    def test_is_intact_where_every_file_is_as_installed(self, made: MadeEnvironment) -> None:
        made.install("thing", files={"thing.py": b"1"}, headers=["License: MIT"])

        report = made.report()

        assert report.verdict == "intact"
        assert report.headline == "This environment is intact: 2 files checked, none differs."
        assert report.surprises == ()

    def test_is_damaged_where_a_file_is_not(self, made: MadeEnvironment) -> None:
        made.install("low", files={"low/a.py": b"1", "low/b.py": b"1"})
        made.install("high", requires=["low", "absent"])
        made.write("low/a.py", b"2")
        (made.site / "low/b.py").unlink()

        report = made.report()

        assert report.verdict == "damaged"
        assert report.headline == (
            "This environment is not intact: 1 file has changed and 1 file is missing, "
            "in 1 distribution."
        )
        assert "reaches 2 of 2 distributions" in report.answer
        assert [(each.name, each.reasons, each.dependents) for each in report.affected.unsound] == [
            ("high", ("absent is absent",), ()),
            ("low", ("1 changed", "1 missing"), ("high",)),
        ]
        assert {row.name: row.state for row in report.rows} == {"high": "unmet", "low": "damaged"}
        assert titles(report, "alarm") == [
            "2 files are not what was installed",
            "1 requirement is not met",
        ]

    def test_is_unmet_where_only_a_requirement_is(self, made: MadeEnvironment) -> None:
        made.install("thing", requires=["absent"])

        assert made.report().verdict == "unmet"
        assert "1 requirement is not met" in made.report().headline

    def test_is_unknown_where_nothing_can_be_checked(self, made: MadeEnvironment) -> None:
        (made.install("packaged") / "RECORD").unlink()

        report = made.report()

        assert (report.verdict, report.unowned) == ("unknown", None)
        assert [row.state for row in report.rows] == ["unchecked"]

    def test_is_unknown_of_nothing(self, made: MadeEnvironment) -> None:
        assert made.report().verdict == "unknown"


class TestTheSurprises:
    def test_name_what_is_odd(self, made: MadeEnvironment) -> None:
        made.install("a", headers=["License: GPL"], requires=["b", "nonsense ?"])
        made.install("b", requires=["a"], record=[",,"])
        made.install("twice", "1.0", files={"same.py": b""}, headers=["License: MIT"])
        made.install("twice", "2.0", files={"same.py": b""}, headers=["License: MIT"])
        made.install("mine", beside={"direct_url.json": b'{"url": "file:///src"}'})
        (made.install("packaged", headers=["License: MIT"]) / "RECORD").unlink()
        made.install("blank", beside={"METADATA": b""})
        made.write("~ip-1.0.dist-info/METADATA")
        made.write("stray.py")
        runs = Startup((StartupFile("x.pth", ("import evil",), ()),), 15_000, 12_000)

        report = made.report(runs)

        assert titles(report, "alarm") == ["1 installation broken off half-way"]
        assert titles(report, "notice") == [
            "1 requirement cannot be understood",
            "3 files belong to no distribution",
            "1 file is claimed more than once",
            "1 line of RECORD make no sense",
            "1 distribution is installed twice",
            "1 distribution has no list of files",
            "The metadata of 1 distribution is damaged",
            "1 file runs code whenever Python starts",
            "1 distribution is under strong copyleft",
            "3 distributions name no known license",
            "1 group of distributions need one another",
        ]
        assert "1 distribution did not come from an index" in titles(report, "fact")

    def test_come_worst_first(self, made: MadeEnvironment) -> None:
        made.install("a", requires=["b", "absent"], headers=["License: GPL"])
        made.install("b", requires=["c"])
        made.install("c", requires=["d"])
        made.install("d")

        levels = [each.level for each in made.report().surprises]

        assert levels == sorted(levels, key=["alarm", "notice", "fact"].index)
        assert set(levels) == {"alarm", "notice", "fact"}

    def test_give_a_few_examples_and_count_the_rest(self, made: MadeEnvironment) -> None:
        made.install("a", requires=[f"absent-{number}" for number in range(40)])

        (alarm,) = (each for each in made.report().surprises if each.level == "alarm")

        assert alarm.examples[0] == "a needs absent-0: not installed"
        assert len(alarm.examples) == 6
        assert alarm.examples[-1] == "and 35 more"

    def test_count_the_files_that_were_not_kept(self, made: MadeEnvironment) -> None:
        made.install("gone", record=[f"{number}.py,sha256=x,1" for number in range(700)])

        (alarm,) = (each for each in made.report().surprises if each.level == "alarm")

        assert alarm.title == "700 files are not what was installed"
        assert alarm.detail.startswith("They are of gone.")


def test_a_report_is_a_value(made: MadeEnvironment) -> None:
    made.install("thing", files={"thing.py": b"1"})
    report = made.report()

    assert replace(report) == report
