"""The line of JSON between a trial and its parent."""

import pytest

from bench.trial import Measurement, TrialError, TrialReport, peak_rss, require_count

REPORT = TrialReport("1.2.3", "as by default", (Measurement("jobs_per_s", 420.5, "jobs/s"),))


def test_a_report_survives_its_line() -> None:
    assert TrialReport.from_output(REPORT.to_line()) == REPORT


def test_what_a_library_prints_before_the_report_is_ignored() -> None:
    assert TrialReport.from_output(f"welcome!\n{{}}\n{REPORT.to_line()}\n") == REPORT


@pytest.mark.parametrize(
    "output", ["", "done", "[]", "{}", '{"version": 1, "settings": 2, "measurements": [{}]}']
)
def test_an_output_without_a_report_is_a_trial_error(output: str) -> None:
    with pytest.raises(TrialError, match="not a report"):
        TrialReport.from_output(output)


def test_one_row_too_few_is_a_trial_error() -> None:
    require_count(10, 10, "succeeded")

    with pytest.raises(TrialError, match="9 of 10 are succeeded"):
        require_count(9, 10, "succeeded")


def test_memory_is_told_in_megabytes() -> None:
    memory = peak_rss()

    assert (memory.metric, memory.unit) == ("rss_mb", "MB")
    assert 1 < memory.value < 100_000
