"""How long things are kept is said early, and clearly."""

from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline, Retention
from flowstone.core.errors import InvalidOptionError


def test_periods_are_durations() -> None:
    policy = Retention("45d", failed=timedelta(days=100), values=3600.0, items="1d")

    assert policy.milliseconds == (45 * 86_400_000, 100 * 86_400_000, 3_600_000, 86_400_000)


def test_everything_has_a_period_unless_said_otherwise() -> None:
    assert None not in Retention().milliseconds
    assert Retention().of_jobs == [(None, timedelta(days=7), timedelta(days=30))]
    forever = Retention(None, failed=None, values=None, items=None)
    assert forever.milliseconds == (None, None, None, None)
    assert FlowStone(Pipeline("p")).retention == Retention()


@pytest.mark.parametrize("period", ["59m", 0, "30", "", -1, "forever", float("nan"), True])
@pytest.mark.parametrize("name", ["runs", "failed", "values", "items", "jobs", "failed_jobs"])
def test_what_is_no_period_is_refused_by_name(name: str, period: object) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        Retention(**{name: period})  # type: ignore[arg-type]


def test_a_queue_has_one_period_or_that_of_jobs_and_that_of_failed_ones() -> None:
    policy = Retention(jobs="2d", failed_jobs=None, queues={"mail": "1h", "audit": ("90d", None)})

    hour, days = timedelta(hours=1), timedelta(days=90)
    assert policy.of_queue("mail") == (hour, hour)
    assert policy.of_queue("audit") == (days, None)
    assert policy.of_queue("other") == (timedelta(days=2), None)
    assert policy.of_jobs == [
        (None, timedelta(days=2), None),
        ("mail", hour, hour),
        ("audit", days, None),
    ]
    assert hash(policy) == hash(Retention(jobs="2d", failed_jobs=None))


@pytest.mark.parametrize(
    "queues", [{"mail": "5m"}, {"mail": ("1h", "0s")}, {"mail": ("1h",)}, {"": "1h"}, {1: "1h"}]
)
def test_what_is_no_period_of_a_queue_is_refused_with_its_name(queues: object) -> None:
    with pytest.raises(InvalidOptionError, match=r"queues\["):
        Retention(queues=queues)  # type: ignore[arg-type]


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"Retention\('30d'\)"):
        FlowStone(Pipeline("p"), retention="30d")  # type: ignore[arg-type]
