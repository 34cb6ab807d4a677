"""Rounds: their order, and what becomes of a failure."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import runner
from bench.runner import Contestant, Outcome, Phase
from bench.trial import Measurement, TrialError, TrialReport

DRAIN = ((Phase("prepare", 5, is_counted=False), Phase("drain", 5)),)
FIELD = (
    Contestant("flowstone", "ours", DRAIN),
    Contestant("one", "first", DRAIN, packages=("one",)),
    Contestant("two", "second", DRAIN, packages=("two",)),
)


class Databases:
    """Stands for the server: counts the databases that it gave out."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        self.count += 1
        yield f"database-{self.count}"

    def commit_ms(self) -> float:
        return 0.2


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, list[str]]]:
    """Run two rounds of the field without processes; say who measured what, in order."""

    def run_field(failing: str = "") -> tuple[Outcome, list[str]]:
        trials: list[str] = []

        def run_trial(
            interpreter: Path, contestant: Contestant, phase: Phase, dsn: str
        ) -> TrialReport:
            trials.append(f"{contestant.script} {phase.name} {dsn}")
            if f"{contestant.script} {phase.name}" == failing:
                message = f"{phase.name} failed"
                raise TrialError(message)
            return TrialReport("1.0", "", (Measurement(phase.name, len(trials), "s"),))

        monkeypatch.setattr(runner, "run_trial", run_trial)
        monkeypatch.setattr(runner, "ensure_peer_environment", lambda peer, *_: Path(peer))
        return runner.run_rounds(Databases(), FIELD, 2, lambda line: None), trials

    return run_field


def test_rounds_alternate_and_go_back_the_same_way(
    run: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    _, trials = run()

    assert [trial.split()[0] for trial in trials if "drain" in trial] == [
        "ours",
        "first",
        "second",
        "second",
        "first",
        "ours",
    ]


def test_the_phases_of_an_episode_share_a_database_that_nobody_else_has(
    run: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    _, trials = run()

    assert trials[0] == "ours prepare database-1"
    assert trials[1] == "ours drain database-1"
    assert len({trial.split()[2] for trial in trials}) == 6


def test_a_phase_that_only_prepares_is_not_counted(
    run: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    outcome, _ = run()

    measured = {system for system, metric in outcome.samples if metric == "drain"}
    assert measured == {"flowstone", "one", "two"}
    assert "prepare" not in {metric for _, metric in outcome.samples}


def test_a_peer_that_fails_is_left_out_and_not_asked_again(
    run: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    outcome, trials = run("first drain")

    assert outcome.left_out == {"one": "drain failed"}
    measured = {system for system, metric in outcome.samples if metric == "drain"}
    assert measured == {"flowstone", "two"}
    assert len([trial for trial in trials if trial.startswith("first drain")]) == 1


def test_the_time_of_a_commit_is_sampled_before_each_contestant(
    run: Callable[..., tuple[Outcome, list[str]]],
) -> None:
    outcome, _ = run()

    assert outcome.samples["server", "commit_ms_p50"] == [0.2] * 6


def test_a_failure_of_ours_ends_the_run(run: Callable[..., tuple[Outcome, list[str]]]) -> None:
    with pytest.raises(TrialError, match="drain failed"):
        run("ours drain")
