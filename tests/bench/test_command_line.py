"""The command line of the benchmarks."""

import importlib.util

import pytest

from bench.__main__ import BENCHMARKS, parse_arguments
from bench.runner import REPOSITORY


def test_three_rounds_of_the_whole_are_what_runs_unless_said_otherwise() -> None:
    options = parse_arguments(["assets"])

    assert (options.rounds, options.quick, options.json, options.save) == (3, False, False, False)


def test_a_benchmark_that_alternates_by_itself_runs_one_round() -> None:
    assert parse_arguments(["growth"]).rounds == 1


def test_an_unknown_benchmark_ends_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["asset"])

    assert ended.value.code == 2
    assert "assets" in capsys.readouterr().err


def test_an_unknown_system_ends_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["assets", "--only", "dbos", "--only", "celery"])

    assert ended.value.code == 2
    assert "celery: known are dbos, flowstone, pgqueuer, procrastinate" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_a_number_of_rounds_that_measures_nothing_is_refused(rounds: str) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["assets", "--rounds", rounds])


@pytest.mark.parametrize("quick", [True, False])
def test_every_contestant_has_a_script(quick: bool) -> None:
    missing = [
        contestant.script
        for benchmark in BENCHMARKS.values()
        for contestant in benchmark.contestants(quick)
        if not (
            (REPOSITORY / contestant.script).is_file()
            if contestant.is_for_node
            else importlib.util.find_spec(contestant.script)
        )
    ]

    assert missing == []


def test_every_ratio_compares_with_a_contestant() -> None:
    for benchmark in BENCHMARKS.values():
        systems = {contestant.system for contestant in benchmark.contestants(False)}

        assert {ratio.peer for ratio in benchmark.ratios} <= systems
