import logging
from datetime import date

import pytest

from flowstone.core.attempt_context import Cancellation
from flowstone.core.context import Context
from flowstone.core.errors import NotRegisteredError


def context(**attributes: object) -> Context[date]:
    facts = {"asset": "sales.report", "run_id": 7, "materialization_id": 42, "attempt": 2}
    return Context(partition=date(2024, 1, 1), **facts, **attributes)  # type: ignore[arg-type]  # a mixed dict


class TestFacts:
    def test_they_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            context().attempt = 3  # type: ignore[misc]  # that it is refused is the test

    def test_log_records_carry_them(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "flowstone.asset")

        context().log.info("read %s rows", 3, extra={"source": "shop", "attempt": 9})

        (record,) = caplog.records
        assert record.getMessage() == "read 3 rows"
        assert (record.asset, record.run_id, record.source) == ("sales.report", 7, "shop")  # type: ignore[attr-defined]  # put there by extra
        assert record.attempt == 9  # type: ignore[attr-defined]  # what the caller says wins


class TestResources:
    def test_one_is_looked_up_by_its_type(self) -> None:
        found = context(resources={int: 5}.__getitem__)

        assert found.resource(int) == 5

    def test_without_resources_it_says_what_is_missing(self) -> None:
        with pytest.raises(NotRegisteredError, match="no resource is registered as 'int'"):
            context().resource(int)


class TestSlots:
    def test_a_plugin_leaves_what_its_function_reads(self) -> None:
        assert context(slots={str: "item-1"}).slot(str) == "item-1"

    def test_what_nobody_left_is_refused_by_name(self) -> None:
        with pytest.raises(NotRegisteredError, match="no context slot is registered as 'int'"):
            context(slots={str: "item-1"}).slot(int)


class TestCancellation:
    def test_without_one_nothing_was_cancelled(self) -> None:
        assert not context().is_cancelled()

    def test_a_request_is_seen_by_who_polls(self) -> None:
        cancellation = Cancellation()
        ctx = context(cancellation=cancellation)
        assert not ctx.is_cancelled()

        cancellation.request()
        cancellation.request()

        assert ctx.is_cancelled()
