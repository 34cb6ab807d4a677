"""Jobs found and changed by an operator, with workers at work."""

from datetime import timedelta

import pytest

from flowstone import FlowStone, Pipeline, Retry
from flowstone.core.errors import InvalidOptionError, JobFailedError, JobNotFoundError
from flowstone.core.status import Status
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, eventually, working

FAR = timedelta(days=9)


class Shop:
    """Jobs whose failures a test ends by mending them."""

    def __init__(self) -> None:
        self.pipeline = Pipeline("shop")
        self.is_mended = False
        self.attempts: list[int] = []

        @self.pipeline.job(retry=Retry(2, base="1ms"))
        async def mail(to: str) -> str:
            self.attempts.append(len(self.attempts) + 1)
            if not self.is_mended:
                raise ConnectionError("nobody there")
            return f"to {to}"

        @self.pipeline.job(queue="slow")
        async def slow() -> None:
            raise NotImplementedError

        self.mail, self.slow = mail, slow


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_failed_job_that_was_mended_is_retried_by_its_handle(
    app_of: AppOf, shop: Shop
) -> None:
    app = await app_of(shop.pipeline)
    job = await app.enqueue(shop.mail.with_("Ada"))
    async with working(app):
        with pytest.raises(JobFailedError):
            await job.result(timeout=60)
        shop.is_mended = True
        assert await job.retry()
        assert await job.result(timeout=60) == "to Ada"

    assert [it.attempt for it in await job.failed_attempts()] == [1, 2]
    assert (await job.status()).attempt == 3


async def test_a_retry_runs_once_more_at_least_and_not_from_the_first_attempt(
    app_of: AppOf, shop: Shop
) -> None:
    app = await app_of(shop.pipeline)
    job = await app.enqueue(shop.mail.with_("Ada"))
    async with working(app):
        await job.wait(60)
        assert len(shop.attempts) == 2
        assert await app.jobs.retry(status="failed") == 1
        await eventually(lambda: len(shop.attempts) == 3)
        assert (await job.wait(60)).status is Status.FAILED

    assert len(shop.attempts) == 3


async def test_a_renamed_job_runs_what_was_enqueued_before(app_of: AppOf) -> None:
    before, now = Pipeline("shop"), Pipeline("shop")

    @before.job
    async def mail(to: str) -> str:
        raise NotImplementedError

    @now.job(aliases=["mail"])
    async def send(to: str) -> str:
        return f"to {to}"

    job = await (await app_of(before)).enqueue(mail.with_("Ada"))
    await drain(await app_of(now))

    assert await job.result(timeout=60) == "to Ada"


async def test_what_is_for_later_is_brought_forward(app_of: AppOf, shop: Shop) -> None:
    shop.is_mended = True
    app = await app_of(shop.pipeline)
    job = await app.enqueue(shop.mail.with_("Ada"), delay=FAR)
    async with working(app):
        assert await job.retry()
        assert await job.result(timeout=60) == "to Ada"
        assert await job.retry()
        assert await job.result(timeout=60) == "to Ada"


async def test_a_job_that_is_due_or_unknown_is_not_retried(app_of: AppOf, shop: Shop) -> None:
    app = await app_of(shop.pipeline)
    job = await app.enqueue(shop.mail.with_("Ada"))

    assert not await job.retry()
    assert not await app.job(10**12).retry()
    assert not await app.job(10**12).delete()


async def test_who_waits_for_a_job_that_is_deleted_is_told(app_of: AppOf, shop: Shop) -> None:
    app = await app_of(shop.pipeline)
    job = await app.enqueue(shop.slow.with_())

    assert await job.delete()
    with pytest.raises(JobNotFoundError):
        await job.wait(60)


async def test_jobs_are_found_by_what_is_said_of_them(
    app_of: AppOf, shop: Shop, stage: Stage
) -> None:
    shop.is_mended = True
    app = await app_of(shop.pipeline)
    old = await app.enqueue_many([shop.mail.with_(str(number)) for number in range(3)])
    await drain(app)
    await stage.advance("2h")
    new = await app.enqueue(shop.slow.with_())

    async def ids(**chosen: object) -> list[int]:
        return [it.job_id for it in await app.jobs.find(**chosen)]  # type: ignore[arg-type]  # a test's own

    ended = [it.job_id for it in reversed(old)]
    assert await ids() == [new.job_id, *ended]
    assert await ids(status="succeeded") == ended
    assert await ids(status=[Status.SUCCEEDED, "ready"]) == [new.job_id, *ended]
    assert await ids(job=shop.slow) == await ids(job="shop.slow") == [new.job_id]
    assert await ids(queue="slow") == [new.job_id]
    assert await ids(older_than="1h") == ended
    assert await ids(newer_than=timedelta(hours=1)) == [new.job_id]
    assert await ids(ids=iter(ended[:2])) == ended[:2]
    assert await ids(limit=2) == [new.job_id, ended[0]]
    assert await ids(limit=2, before=ended[0]) == ended[1:]


async def test_thousands_are_changed_in_steps(
    app_of: AppOf, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.core.job_operations.STEP", 70)
    app = await app_of(shop.pipeline)
    await app.enqueue_many([shop.slow.with_() for _ in range(500)])

    assert await app.jobs.cancel(queue="slow", dry_run=True) == 500
    assert await app.jobs.cancel(queue="slow") == 500
    assert await app.jobs.cancel(queue="slow") == 0
    assert await app.jobs.retry(job=shop.slow) == 500
    assert await app.jobs.delete(every=True) == 500
    assert await app.jobs.find() == []


class TestRefused:
    @pytest.mark.parametrize("verb", ["retry", "cancel", "delete"])
    async def test_a_change_of_everything_that_does_not_say_so(self, verb: str) -> None:
        async with FlowStone(Shop().pipeline) as app:
            with pytest.raises(InvalidOptionError, match=rf"app\.jobs\.{verb}\(.*every=True"):
                await getattr(app.jobs, verb)()

    async def test_a_status_that_no_job_has(self) -> None:
        async with FlowStone(Shop().pipeline) as app:
            for wrong in ("pending", "done"):
                with pytest.raises(InvalidOptionError, match=f"{wrong}.*ready, running, waiting"):
                    await app.jobs.find(status=wrong)

    async def test_a_limit_that_is_none(self) -> None:
        async with FlowStone(Shop().pipeline) as app:
            with pytest.raises(InvalidOptionError, match="limit=0"):
                await app.jobs.find(limit=0)
