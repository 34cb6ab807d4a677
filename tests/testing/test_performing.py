"""One attempt, alone, as a worker would run it."""

import asyncio
from datetime import date, timedelta

import psycopg
import pytest

from flowstone import (
    Cancel,
    Context,
    Definition,
    Dep,
    FlowStone,
    JobContext,
    Limit,
    Pipeline,
    Requires,
    Skip,
    Snooze,
)
from flowstone.core.contracts.io_manager import Address as IOAddress
from flowstone.core.contracts.io_manager import Written
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import (
    InvalidOptionError,
    InvalidPartitionError,
    JobArgumentsError,
    LimitTimeoutError,
    MaterializationTimeoutError,
    ResourceUnavailableError,
    UnknownAssetError,
    UnknownJobError,
    UnknownLimitError,
    ValueNotReadableError,
    ValueNotStorableError,
)
from flowstone.core.outcome import Outcome, Stored, Waiting, Wake
from flowstone.testing import Applications, perform
from tests.testing.a_shop import (
    Address,
    Mailer,
    MailerResource,
    ReportConfig,
    an_app,
    deliver,
    ends,
    hangs,
    report,
    send_mail,
)

DAY = date(2025, 1, 15)

both = pytest.mark.flowstone_both


@both
class TestAJob:
    async def test_gets_its_context_arguments_and_resources(
        self, flowstone_app: Applications
    ) -> None:
        async with flowstone_app(an_app()) as app:
            said = await perform(app, send_mail.with_("Ada"), attempt=2, job_id=7, queue="fast")

            assert said == "shop.send_mail 7, attempt 2 on fast: Hello, Ada"
            assert app.resources.get(Mailer).sent == ["Ada"]

    async def test_of_its_own_queue_unless_told(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            said = await perform(app, send_mail.with_("Ada"))

        assert said == "shop.send_mail 1, attempt 1 on mail: Hello, Ada"

    async def test_leaves_nothing_in_the_store(self, flowstone_app: Applications) -> None:
        async with flowstone_app(an_app()) as app:
            await perform(app, send_mail.with_("Ada"))

            assert await app.store.jobs(range(10)) == {}

    async def test_may_get_another_resource_and_keeps_the_rest(
        self, flowstone_app: Applications
    ) -> None:
        mailer = Mailer("a fake")
        async with flowstone_app(an_app()) as app:
            await perform(app, send_mail.with_("Ada"), resources={Mailer: mailer})

            assert mailer.sent == ["Ada"]
            assert app.resources.get(Mailer).sent == []

    async def test_that_wants_what_is_not_set_up_says_so(self) -> None:
        with pytest.raises(ResourceUnavailableError, match="open the application first"):
            await perform(an_app(), send_mail.with_("Ada"), resources={Mailer: Mailer()})

    async def test_gets_what_its_arguments_are_after_json(
        self, flowstone_app: Applications
    ) -> None:
        given = Address("High Street", 2)
        app = flowstone_app(an_app())

        got = await perform(app, deliver.with_(given))

        assert got == given
        assert got is not given

    async def test_refuses_an_argument_that_json_does_not_bring_back(self) -> None:
        with pytest.raises(JobArgumentsError, match="address"):
            await perform(an_app(), deliver.with_("High Street"))  # type: ignore[arg-type]

    async def test_returns_what_is_no_value_as_what_it_is(self) -> None:
        app = an_app()

        assert await perform(app, ends.with_("snooze")) == Snooze("10m")
        assert await perform(app, ends.with_("cancel")) == Cancel("closed")
        assert await perform(app, ends.with_("skip")) == Skip("nothing to do")
        assert await perform(app, ends.with_("well")) == "well"

    async def test_raises_what_it_raised(self) -> None:
        with pytest.raises(ConnectionError, match="the post is away") as raised:
            await perform(an_app(), ends.with_("fail"))

        assert "in ends" in str(raised.getrepr(style="short"))

    async def test_raises_what_a_worker_finds_wrong_with_its_result(self) -> None:
        with pytest.raises(ValueNotStorableError):
            await perform(an_app(), ends.with_("unstorable"))

    async def test_has_its_timeout(self) -> None:
        with pytest.raises(MaterializationTimeoutError):
            await perform(an_app(), hangs.with_())

    async def test_of_another_pipeline_is_unknown(self) -> None:
        with pytest.raises(UnknownJobError, match="send_mail"):
            await perform(FlowStone(Pipeline("other")), send_mail.with_("Ada"))

    async def test_that_is_not_called_says_how(self) -> None:
        with pytest.raises(InvalidOptionError, match=r"send_mail\.with_\("):
            await perform(an_app(), send_mail)  # type: ignore[call-overload]

    async def test_refuses_what_only_an_asset_has(self) -> None:
        with pytest.raises(InvalidOptionError, match="a job takes no partition"):
            await perform(an_app(), ends.with_("well"), partition=DAY)  # type: ignore[call-overload]

    async def test_two_at_once_have_resources_of_their_own(self) -> None:
        wanted = Pipeline("wanted")

        @wanted.job
        async def who(mailer: Mailer = Requires(Mailer)) -> str:
            await asyncio.sleep(0)
            return mailer.name

        app = FlowStone(wanted, resources={Mailer: MailerResource()})
        mailers = [Mailer("one"), Mailer("two")]
        names = await asyncio.gather(
            *(perform(app, who.with_(), resources={Mailer: it}) for it in mailers)
        )

        assert names == ["one", "two"]


async def test_what_an_attempt_writes_commits_unless_it_raises(
    flowstone_dsn: str, flowstone_app: Applications
) -> None:
    shop = Pipeline("shop")

    @shop.job
    async def pay(ctx: JobContext, amount: int) -> int:
        async with ctx.transaction() as conn:
            await conn.execute("INSERT INTO payments VALUES ($1)", amount)  # type: ignore[attr-defined]
        if amount < 0:
            raise ValueError(amount)
        return amount

    with psycopg.connect(flowstone_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE payments (amount integer)")
        async with flowstone_app(shop) as app:
            assert await perform(app, pay.with_(3)) == 3
            with pytest.raises(ValueError, match="-1"):
                await perform(app, pay.with_(-1))

        assert connection.execute("SELECT * FROM payments").fetchall() == [(3,)]


@both
async def test_an_attempt_holds_limits_as_it_does_in_a_worker(flowstone_app: Applications) -> None:
    shop = Pipeline("shop")

    @shop.job
    async def ask(ctx: JobContext, name: str, max_wait: str = "10s") -> str:
        async with ctx.limit(name, max_wait=max_wait):
            return "asked"

    async with flowstone_app(shop, limits={"api": Limit(slots=1, rate="2/h")}) as app:
        assert [await perform(app, ask.with_("api")) for _ in range(2)] == ["asked", "asked"]
        with pytest.raises(LimitTimeoutError):
            await perform(app, ask.with_("api", "50ms"))
        with pytest.raises(UnknownLimitError, match="ape"):
            await perform(app, ask.with_("ape"))


class Refuses(MemoryIO):
    """An IO manager that nothing may reach."""

    async def store(self, address: IOAddress, value: object) -> Written:
        raise AssertionError("nothing is to be written")

    async def load(self, location: object, annotation: object) -> object:
        raise AssertionError("nothing is to be read")


@both
class TestAnAsset:
    async def test_is_made_of_the_inputs_that_it_is_given(
        self, flowstone_app: Applications
    ) -> None:
        app = flowstone_app(an_app())

        got = await perform(
            app, report, partition=DAY, inputs={"base": [1, 2], "extra": ["a"]}, attempt=3, run_id=9
        )

        assert got == {
            "day": "2025-01-15",
            "sum": 3,
            "top": 3,
            "extra": ["a"],
            "run": 9,
            "attempt": 3,
        }

    async def test_may_give_its_io_manager_what_is_no_json(self) -> None:
        p = Pipeline("p")
        frame = p.asset(name="frame")(lambda: object())
        app = FlowStone(p, io={"lake": Refuses})

        assert type(await perform(app, frame, io="lake")) is object
        with pytest.raises(ValueNotStorableError):
            await perform(app, frame)

    async def test_does_without_an_optional_input(self) -> None:
        got = await perform(an_app(), report, partition=DAY, inputs={"base": [1]})

        assert isinstance(got, dict)
        assert got["extra"] is None

    async def test_needs_no_partition_for_upstreams_that_do_not_run(self) -> None:
        p = Pipeline("p")

        @p.asset
        async def day(ctx: Context[date]) -> int:
            return ctx.partition.day

        @p.asset
        async def doubled(day: int = Dep(day)) -> int:
            return 2 * day

        app = FlowStone(p)

        assert await perform(app, doubled, inputs={"day": 3}) == 6
        with pytest.raises(InvalidPartitionError):
            await perform(app, day)

    async def test_has_its_configuration(self) -> None:
        for config in (ReportConfig(top_n=5), {"top_n": 5}):
            got = await perform(an_app(), report, partition=DAY, inputs={"base": []}, config=config)

            assert isinstance(got, dict)
            assert got["top"] == 5

    async def test_takes_its_inputs_by_what_they_come_from(self) -> None:
        got = await perform(an_app(), report, partition=DAY, inputs={"shop.orders": [4]})

        assert isinstance(got, dict)
        assert got["sum"] == 4

    async def test_refuses_an_input_of_another_type(self) -> None:
        with pytest.raises(ValueNotReadableError):
            await perform(an_app(), report, partition=DAY, inputs={"base": "text"})

    async def test_says_which_inputs_are_missing_or_unknown(self) -> None:
        with pytest.raises(InvalidOptionError, match=r'inputs=\{"base": …\}'):
            await perform(an_app(), report, partition=DAY)
        with pytest.raises(InvalidOptionError, match="takes no bass; it takes: base, extra"):
            await perform(an_app(), report, partition=DAY, inputs={"bass": []})

    async def test_of_another_pipeline_is_unknown(self) -> None:
        with pytest.raises(UnknownAssetError):
            await perform(FlowStone(Pipeline("other")), report, inputs={"base": []})

    async def test_refuses_what_only_a_job_has(self) -> None:
        with pytest.raises(InvalidOptionError, match="an asset takes no job_id"):
            await perform(an_app(), report, job_id=3)  # type: ignore[call-overload]

    async def test_writes_nothing_where_its_values_are_kept(
        self, flowstone_app: Applications
    ) -> None:
        lake = Pipeline("lake")

        @lake.asset(io="lake")
        async def raw() -> object:
            return object()

        @lake.asset(io="lake")
        async def seen(raw: object = Dep(raw)) -> object:
            return raw

        app = flowstone_app(lake, io={"lake": Refuses()})
        thing = object()

        assert type(await perform(app, raw)) is object
        assert await perform(app, seen, inputs={"raw": thing}) is thing

    async def test_that_waits_says_for_what(self) -> None:
        class Approval(Strategy):
            async def start(self, execution: Execution) -> Outcome:
                return Waiting("approval", {"by": "Ada"}, timedelta(days=1))

            async def resume(self, execution: Execution, wake: Wake) -> Outcome:
                return Stored(None)

        gates = Pipeline("gates")

        @gates.asset
        @lambda function: Definition(function, strategy=Approval())
        async def gate() -> None: ...

        got = await perform(FlowStone(gates), gate)

        assert got == Waiting("approval", {"by": "Ada"}, timedelta(days=1))
