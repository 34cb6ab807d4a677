"""The state machine's table: what it allows, and what it has to refuse."""

from itertools import product

import pytest

from flowstone.core.errors import IllegalTransitionError
from flowstone.core.status import TERMINAL, TRANSITIONS, Event, RunStatus, Status, advance

PAIRS = list(product(Status, Event))


class TestAdvance:
    @pytest.mark.parametrize(("status", "event"), [pair for pair in PAIRS if pair in TRANSITIONS])
    def test_a_legal_event_leads_to_another_status(self, status: Status, event: Event) -> None:
        assert advance(status, event) is TRANSITIONS[status, event]
        assert advance(status, event) is not status

    @pytest.mark.parametrize(
        ("status", "event"), [pair for pair in PAIRS if pair not in TRANSITIONS]
    )
    def test_any_other_event_is_refused_by_name(self, status: Status, event: Event) -> None:
        with pytest.raises(IllegalTransitionError) as raised:
            advance(status, event)

        assert raised.value.from_status == status.value
        assert raised.value.to_status == event.name.lower()


class TestStatus:
    def test_the_values_are_those_of_the_column(self) -> None:
        assert [status.value for status in Status] == [
            "pending",
            "ready",
            "running",
            "waiting",
            "succeeded",
            "failed",
            "skipped",
            "cancelled",
            "upstream_failed",
        ]

    @pytest.mark.parametrize("status", Status)
    def test_terminal_is_what_nothing_follows(self, status: Status) -> None:
        has_next = any(before is status for before, _ in TRANSITIONS)

        assert status.is_terminal is not has_next
        assert (status in TERMINAL) is status.is_terminal

    @pytest.mark.parametrize("status", Status)
    def test_every_status_is_reached_from_the_first(self, status: Status) -> None:
        reached = {Status.PENDING}
        for _ in Status:
            reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}

        assert status in reached

    @pytest.mark.parametrize("status", [each for each in Status if not each.is_terminal])
    def test_whatever_is_open_can_be_cancelled(self, status: Status) -> None:
        assert advance(status, Event.CANCELLED) is Status.CANCELLED

    def test_only_what_runs_succeeds_or_fails(self) -> None:
        ends = (Event.SUCCEEDED, Event.FAILED)

        assert {before for before, event in TRANSITIONS if event in ends} == {Status.RUNNING}


class TestEvent:
    def test_the_numbers_of_settling_events_never_change(self) -> None:
        assert {event.name: event.value for event in Event if event.settles} == {
            "SUCCEEDED": 1,
            "FAILED": 2,
            "SKIPPED": 3,
            "CANCELLED": 4,
            "RETRIED": 5,
            "SNOOZED": 6,
            "WAITED": 7,
            "HANDED_BACK": 8,
        }

    @pytest.mark.parametrize("event", [event for event in Event if event.settles])
    def test_whatever_a_worker_reports_is_legal_while_it_runs(self, event: Event) -> None:
        assert (Status.RUNNING, event) in TRANSITIONS


class TestRunStatus:
    @pytest.mark.parametrize("status", RunStatus)
    def test_a_run_has_ended_unless_it_runs(self, status: RunStatus) -> None:
        assert status.is_terminal is (status.value != "running")
