"""Medians, ratios, the table and the JSON document."""

import json
from pathlib import Path

from bench.report import Ratio, Results, save, summarize, to_document, to_table
from bench.runner import Outcome
from bench.trial import Measurement, TrialReport

RATIOS = (
    Ratio("assets_per_s", "peer", "jobs_per_s"),
    Ratio("assets_per_s", "absent", "jobs_per_s"),
)
MACHINE = {"postgres": "18", "fsync": "on", "cpu_count": 2}


def results_of(ours: list[float], theirs: list[float]) -> Results:
    outcome = Outcome()
    for system, metric, values in (
        ("flowstone", "assets_per_s", ours),
        ("peer", "jobs_per_s", theirs),
    ):
        for value in values:
            measurement = Measurement(metric, value, "a second")
            outcome.add(system, TrialReport("1.0", "by default", (measurement,)))
    outcome.leave_out("absent", "does not install")
    return summarize("assets", outcome, RATIOS, MACHINE, is_quick=False, rounds=3)


def test_a_figure_is_the_median_of_its_rounds() -> None:
    results = results_of([100, 9000, 110], [10, 11, 12])

    assert [figure.value for figure in results.figures] == [110, 11]
    assert [(figure.lowest, figure.highest) for figure in results.figures] == [
        (100, 9000),
        (10, 12),
    ]


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    results = results_of([100, 300, 400], [10, 100, 20])

    assert results.ratios["assets_per_s/peer"] == 10


def test_a_ratio_with_who_was_left_out_is_not_given() -> None:
    results = results_of([100, 300, 400], [10, 100, 20])

    assert list(results.ratios) == ["assets_per_s/peer"]


def test_a_ratio_may_have_a_name_of_its_own() -> None:
    assert Ratio("slow_ms", "flowstone", "fast_ms", label="growth/slow").name == "growth/slow"


def test_the_document_has_results_and_ratios_in_their_fixed_shape() -> None:
    document = json.loads(json.dumps(to_document(results_of([100, 110, 120], [10, 11, 12]))))

    assert document["results"] == [
        {"system": "flowstone", "metric": "assets_per_s", "value": 110, "unit": "a second"},
        {"system": "peer", "metric": "jobs_per_s", "value": 11, "unit": "a second"},
    ]
    assert document["ratios"] == {"assets_per_s/peer": 10}
    assert document["left_out"] == {"absent": "does not install"}
    assert document["machine"] == MACHINE
    assert document["samples"]["peer/jobs_per_s"] == [10, 11, 12]


def test_the_table_names_figures_ratios_settings_and_who_was_left_out() -> None:
    table = to_table(results_of([21000, 21500, 22000], [10, 11, 12]))

    assert "flowstone  assets_per_s  21,500  a second  21,000   22,000" in table
    assert "assets_per_s/peer  1,954.55×" in table
    assert "peer 1.0: by default" in table
    assert "left out: absent: does not install" in table
    assert "fsync on" in table


def test_a_peer_that_is_left_out_keeps_no_figure() -> None:
    outcome = Outcome()
    outcome.add("peer", TrialReport("1.0", "", (Measurement("jobs_per_s", 5, "jobs/s"),)))
    outcome.leave_out("peer", "drain failed")

    assert (outcome.samples, outcome.systems) == ({}, {})


def test_a_saved_run_is_its_document_under_the_name_of_the_benchmark(tmp_path: Path) -> None:
    results = results_of([100], [10])

    path = save(results, tmp_path / "results")

    assert path.name.startswith("assets-20")
    assert to_document(results) == json.loads(path.read_text())
