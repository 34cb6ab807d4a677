"""``flowstone queue`` says what is let through, and needs no application for it."""

from pathlib import Path

import pytest

from tests.cli.invocation import flowstone


def shown(*arguments: object) -> dict[str, object]:
    document: dict[str, object] = flowstone("queue", *arguments, "-o", "json").document
    return document


class TestQueues:
    def test_are_listed_with_what_they_hold_and_what_was_said(self, durable: Path) -> None:
        flowstone("enqueue", "report")
        flowstone("queue", "limit", "default", "--max-running", 5, "--rate", "100/m")
        flowstone("queue", "pause", "mail")

        listed = flowstone("queue", "ls", "-o", "json").document["items"]
        assert [(it["queue"], it["due"], it["rate"]) for it in listed] == [
            ("default", 1, "100/m"),
            ("mail", 0, None),
        ]
        text = flowstone("queue", "ls").stdout
        assert "paused" in text.splitlines()[2]
        assert "100/m" in text.splitlines()[1]

    def test_are_paused_and_resumed(self, durable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FLOWSTONE_APP")
        assert shown("pause", "mail")["paused_at"] is not None
        assert shown("resume", "mail")["paused_at"] is None
        assert flowstone("queue", "resume", "mail").stdout == (
            "queue mail: open, no limits; 0 due, 0 later, 0 running\n"
        )

    def test_are_limited_one_limit_at_a_time(self, durable: Path) -> None:
        assert shown("limit", "mail", "--rate", "5/10s")["rate"] == "5/10s"
        document = shown("limit", "mail", "--max-running", 3)
        assert (document["max_running"], document["rate"]) == (3, "5/10s")
        document = shown("limit", "mail", "--rate", "none")
        assert (document["max_running"], document["rate"]) == (3, None)
        assert shown("limit", "mail", "--reset")["limits_from"] is None

    def test_are_scaled_and_stopped(self, durable: Path) -> None:
        assert shown("scale", "mail", 7)["slots"] == 7
        assert shown("stop", "mail")["slots"] == 0
        assert shown("scale", "mail", "default")["slots"] is None

    def test_are_drained_or_the_exit_code_says_not(self, durable: Path) -> None:
        assert flowstone("queue", "drain", "default").exit_code == 0
        flowstone("enqueue", "report")
        late = flowstone("queue", "drain", "default", "--timeout", "10ms")
        assert late.exit_code == 4
        assert "0 run, 1 are due" in late.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ("limit", "mail"),
            ("limit", "mail", "--reset", "--rate", "1/s"),
            ("limit", "mail", "--max-running", "many"),
            ("limit", "mail", "--rate", "often"),
            ("scale", "mail", "-1"),
            ("scale", "mail", 1, "--worker", 999),
            ("pause", "q" * 41),
        ],
    )
    def test_bad_input_is_usage(self, reading: Path, arguments: tuple[object, ...]) -> None:
        assert flowstone("queue", *arguments).exit_code == 2
