"""What is printed stays in its lines, and says lengths of time as people do."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from flowstone.cli.output import cell, columns, harmless, seconds_text, time_text
from flowstone.cli.run_documents import record_text
from tests.cli.invocation import PATIENCE_SECONDS, ROOT, Process, flowstone


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (3, "3"),
        ("  two\nlines", "two …"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("tab\there", "tab here"),
        ("wide é 漢", "wide é 漢"),
        ("\ud800", "�"),
    ],
)
def test_a_cell_is_one_line_that_steers_nothing(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_lines_stay_lines_where_there_may_be_several() -> None:
    assert harmless("one\ntwo\x07\r") == "one\ntwo��"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns(("a", "b"), [("long", 1), ("x", None)]) == "a     b\nlong  1\nx"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0.004, "0.00s"), (9.5, "9.50s"), (61, "61.0s"), (125, "2m05s"), (7260, "2h01m")],
)
def test_lengths_of_time(seconds: float | None, shown: str) -> None:
    assert seconds_text(seconds) == shown


def test_instants_are_in_utc() -> None:
    moment = datetime(2025, 1, 15, 8, tzinfo=timezone(timedelta(hours=2)))

    assert time_text(moment) == "2025-01-15T06:00:00.000Z"
    assert time_text(datetime(2025, 1, 1, tzinfo=UTC)) == "2025-01-01T00:00:00.000Z"
    assert time_text(None) is None


def test_an_error_cannot_steer_the_terminal() -> None:
    ended = flowstone("plan", "x", "--app", "shop:\x1b[2Japp")

    assert ended.exit_code == 2
    assert "\x1b" not in ended.stderr


def test_a_reader_that_has_seen_enough_is_no_reason_to_complain() -> None:
    with Process("--help") as process:
        assert process.popen.stdout is not None
        process.popen.stdout.close()
        process.popen.stdout = None
        code = process.popen.wait(30)

    assert "Traceback" not in process.stderr
    assert code in (0, 1)


@pytest.mark.postgres
def test_closed_streams_are_no_streams_for_connections(reading: Path) -> None:
    """A connection that got the number of one of them would abort uvloop, and be written to."""
    command = f'exec "{sys.executable}" -m flowstone runs ls <&- >&-'

    ended = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=PATIENCE_SECONDS,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_disk_is_said_and_no_traceback() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "flowstone", "version"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            text=True,
            check=False,
        )

    assert (ended.returncode, ended.stderr) == (
        3,
        "error: the output cannot be written: No space left on device\n",
    )


def test_the_place_of_an_error_is_a_line_of_its_author() -> None:
    frames = ("/srv/shop.py", "/lib/flowstone/plugins/scatter/pump.py", "/lib/flowstone/core/x.py")
    traceback = "\n".join(f'  File "{file}", line 7, in it' for file in frames)

    assert record_text({"message": "no", "traceback": traceback}) == "no  (/srv/shop.py:7)"
    ours = traceback.replace("/srv/shop.py", "/lib/flowstone/engine/store.py")
    assert record_text({"message": "no", "traceback": ours}) == "no"
