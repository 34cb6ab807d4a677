"""What is enqueued and has not ended."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import psycopg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.errors import InvalidOptionError, JobArgumentsError, UnknownJobError
from flowstone.core.status import Status
from flowstone.testing import (
    Applications,
    advance,
    assert_enqueued,
    drain,
    enqueued,
    refute_enqueued,
)
from tests.testing.a_shop import Address, an_app, deliver, ends, send_mail, working

both = pytest.mark.flowstone_both


@both
class TestListing:
    async def test_shows_open_jobs_in_order_with_their_arguments(
        self, flowstone_app: Applications
    ) -> None:
        async with flowstone_app(an_app()) as app:
            first = await app.enqueue(deliver.with_(Address("High Street")), priority=3)
            second = await app.enqueue(send_mail.with_("Ada"), delay="1h")

            one, two = await enqueued(app)

        assert (one.job_id, one.job, one.priority, one.at) == (
            first.job_id,
            "shop.deliver",
            3,
            None,
        )
        assert one.arguments == {"address": Address("High Street", 1)}
        assert (two.job_id, two.queue, two.status) == (second.job_id, "mail", Status.READY)
        assert two.arguments == {"to": "Ada", "subject": "Hello"}
        assert two.at == two.enqueued_at + timedelta(hours=1)

    async def test_leaves_out_what_has_ended(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue_many([ends.with_(how) for how in ("well", "cancel", "skip")])
            retried = await app.enqueue(ends.with_("fail"))
            await drain(app)

            assert [it.job_id for it in await enqueued(app)] == [retried.job_id]

    async def test_has_what_runs(self, flowstone_app: Applications) -> None:
        held = Pipeline("held")
        began, go = asyncio.Event(), asyncio.Event()

        @held.job
        async def hold() -> None:
            began.set()
            await go.wait()

        async with flowstone_app(held) as app, working(app):
            job = await app.enqueue(hold.with_())
            await asyncio.wait_for(began.wait(), 10)

            assert [it.status for it in await enqueued(app)] == [Status.RUNNING]
            go.set()
            await job.result(timeout="60s")

    async def test_can_be_narrowed(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(send_mail.with_("Ada"))
            await app.enqueue(send_mail.with_("Grace"), queue="fast")
            await app.enqueue(ends.with_("well"))

            assert len(await enqueued(app, send_mail)) == 2
            assert len(await enqueued(app, send_mail.with_("Ada"))) == 1
            assert len(await enqueued(app, queue="mail")) == 1

    async def test_finds_more_than_a_page(
        self, flowstone_app: Applications, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowstone.testing.enqueued_jobs.PAGE", 7)
        async with flowstone_app(an_app()) as app:
            await app.enqueue_many([ends.with_(str(number)) for number in range(20)])

            found = await enqueued(app, ends)

        assert [it.arguments["how"] for it in found] == [str(number) for number in range(20)]

    async def test_shows_what_this_application_does_not_know(
        self, flowstone_app: Applications
    ) -> None:
        async with flowstone_app(an_app()) as app, flowstone_app(Pipeline("other")) as other:
            await app.enqueue(deliver.with_(Address("High Street")))

            (found,) = await enqueued(other)

        assert found.arguments == {"address": {"street": "High Street", "number": 1}}


@both
class TestAsserting:
    async def test_finds_a_call_with_all_its_arguments(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            job = await app.enqueue(send_mail.with_("Ada"))
            await app.enqueue(send_mail.with_("Grace", subject="Bye"))

            found = await assert_enqueued(app, send_mail.with_(to="Ada", subject="Hello"))
            assert found.job_id == job.job_id
            await refute_enqueued(app, send_mail.with_("Grace"))
            await refute_enqueued(app, ends)

    async def test_finds_a_job_with_some_of_its_arguments(
        self, flowstone_app: Applications
    ) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(send_mail.with_("Grace", subject="Bye"))

            await assert_enqueued(app, send_mail)
            await assert_enqueued(app, send_mail, arguments={"to": "Grace"})
            await refute_enqueued(app, send_mail, arguments={"to": "Ada"})
            await refute_enqueued(app, send_mail, arguments={"subject": "Hello"})

    async def test_compares_arguments_as_they_are_stored(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(deliver.with_(Address("High Street", 2)))

            await assert_enqueued(app, deliver.with_(Address("High Street", 2)))
            await assert_enqueued(app, deliver, arguments={"address": Address("High Street", 2)})
            await refute_enqueued(app, deliver.with_(Address("High Street", 3)))

    async def test_minds_queue_and_priority(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(send_mail.with_("Ada"), priority=5)

            await assert_enqueued(app, send_mail, queue="mail", priority=5)
            await refute_enqueued(app, send_mail, queue="fast")
            await refute_enqueued(app, send_mail, priority=0)

    async def test_minds_the_time(self, flowstone_app: Applications) -> None:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        near = tomorrow + timedelta(milliseconds=900)
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("at"), at=tomorrow)
            await app.enqueue(ends.with_("delay"), delay="1h")
            await app.enqueue(ends.with_("now"))

            await assert_enqueued(app, ends.with_("at"), at=near)
            await refute_enqueued(app, ends.with_("at"), at=near, tolerance="0.5s")
            await refute_enqueued(app, ends.with_("now"), at=tomorrow)
            await assert_enqueued(app, ends.with_("delay"), delay="1h", tolerance="0s")
            await refute_enqueued(app, ends.with_("delay"), delay="61m")
            await refute_enqueued(app, ends.with_("now"), delay="1h")
            await assert_enqueued(app, ends.with_("now"), delay=0)

    async def test_minds_a_delay_though_time_passes(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue(ends.with_("delay"), delay="2h")
            await advance(app, "1h")

            await assert_enqueued(app, ends, delay="2h")

    async def test_says_what_there_is(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            job = await app.enqueue(send_mail.with_("Ada"), delay="1h", priority=5)
            await app.enqueue(ends.with_("well"))

            with pytest.raises(AssertionError) as raised:
                await assert_enqueued(app, send_mail.with_("Grace"), queue="fast", delay="2h")
            with pytest.raises(AssertionError) as of_this:
                await assert_enqueued(app, send_mail.with_("Ada"), queue="fast")

        asked = "no open job is shop.send_mail.with_(to='Grace'), in queue fast, "
        line = (
            f"  {job.job_id}: shop.send_mail(to='Ada', subject='Hello') ready, queue mail, "
            "priority 5, due 1:00:00 after it was enqueued"
        )
        assert str(raised.value).splitlines() == [
            f"{asked}due 2:00:00 after it was enqueued",
            "open jobs:",
            line,
            f"  {job.job_id + 1}: shop.ends(how='well') ready, queue default",
        ]
        assert str(of_this.value).splitlines()[1:] == ["open jobs:", line]

    async def test_says_when_there_is_nothing(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            with pytest.raises(AssertionError, match=r"is shop\.ends\nnothing is enqueued$"):
                await assert_enqueued(app, ends)

    async def test_shows_no_more_than_can_be_read(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await app.enqueue_many([ends.with_("well")] * 25)

            with pytest.raises(AssertionError, match=r"\n  and 5 more$"):
                await assert_enqueued(app, ends.with_("fail"))

    async def test_refuting_says_which_there_is(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            job = await app.enqueue(ends.with_("well"))
            await app.enqueue(ends.with_("fail"))

            with pytest.raises(AssertionError) as raised:
                await refute_enqueued(app, ends, arguments={"how": "well"})

        assert str(raised.value).splitlines() == [
            "an open job is shop.ends(how='well', …)",
            "open jobs:",
            f"  {job.job_id}: shop.ends(how='well') ready, queue default",
        ]


@both
class TestAWrongQuestion:
    async def test_is_refused(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            with pytest.raises(JobArgumentsError, match="address"):
                await refute_enqueued(app, deliver.with_("High Street"))  # type: ignore[arg-type]
            with pytest.raises(JobArgumentsError, match="takes no whom"):
                await refute_enqueued(app, send_mail, arguments={"whom": "Ada"})
            with pytest.raises(InvalidOptionError, match="its call has them"):
                await refute_enqueued(app, send_mail.with_("Ada"), arguments={"to": "Ada"})
            with pytest.raises(InvalidOptionError, match="time zone"):
                await refute_enqueued(app, ends, at=datetime(2030, 1, 1))
            with pytest.raises(InvalidOptionError, match="is no job"):
                await refute_enqueued(app, "shop.ends")  # type: ignore[arg-type]

    async def test_about_another_pipeline_is_unknown(self, flowstone_app: Applications) -> None:
        async with flowstone_app(Pipeline("other")) as app:
            with pytest.raises(UnknownJobError):
                await refute_enqueued(app, ends)


class TestATransaction:
    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    async def test_sees_what_it_has_enqueued_alone(
        self, flowstone_app: Applications, flowstone_dsn: str, driver: str
    ) -> None:
        async with flowstone_app(an_app()) as app:
            if driver == "asyncpg":
                conn = await asyncpg.connect(flowstone_dsn)
                transaction = conn.transaction()
                await transaction.start()
                await self._enqueue(app, conn)
                await transaction.rollback()
                await conn.close()
            else:
                async with await psycopg.AsyncConnection.connect(flowstone_dsn) as other:
                    await self._enqueue(app, other)
                    await other.rollback()

            assert await enqueued(app) == []

    async def _enqueue(self, app: FlowStone, conn: object) -> None:
        await app.enqueue(ends.with_("well"), conn=conn)

        await assert_enqueued(app, ends.with_("well"), conn=conn)
        assert len(await enqueued(app, conn=conn)) == 1
        await refute_enqueued(app, ends)
        with pytest.raises(AssertionError):
            await refute_enqueued(app, ends, conn=conn)

    async def test_there_is_none_in_memory(self) -> None:
        async with an_app() as app:
            with pytest.raises(InvalidOptionError, match="conn"):
                await enqueued(app, conn=object())
