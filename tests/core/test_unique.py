"""What makes jobs the same: the options of `Unique`, and the key that comes of them."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta

import pytest

from flowstone import FlowStone, JobContext, Pipeline, Requires, Unique
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import DefinitionError, InvalidOptionError
from flowstone.core.job import AnyJob, JobCall
from flowstone.core.unique import dedupe_key


@dataclass
class Address:
    street: str
    number: int = 1


def key(call: JobCall[object]) -> str:
    codec = JsonCodec()
    unique = call.job.options.unique
    assert unique is not None
    arguments = call.job.arguments
    return arguments.key(call.arguments, arguments.encode(call.arguments, codec), unique, codec).key


def sync_job(unique: Unique, name: str = "sync") -> AnyJob:
    @Pipeline("shop").job(name=name, unique=unique)
    async def sync(
        ctx: JobContext,
        customer: int,
        tags: frozenset[str] = frozenset(),
        at: Address | None = None,
        weight: float = 1.0,
    ) -> None: ...

    return sync


class TestKey:
    def test_arguments_are_the_same_however_they_are_given(self) -> None:
        sync = sync_job(Unique())
        wanted = key(sync.with_(1))

        assert key(sync.with_(customer=1)) == wanted
        assert key(sync.with_(weight=1, customer=1)) == wanted
        assert key(sync.with_(1, frozenset(), None, 1.0)) == wanted

    def test_also_when_all_are_plain_and_when_one_only_fits(self) -> None:
        @Pipeline("shop").job(unique=Unique())
        async def weigh(customer: int, weight: float = 2.0, note: str = "ä") -> None: ...

        wanted = key(weigh.with_(1))

        assert key(weigh.with_(1, 2.0, "ä")) == wanted
        assert key(weigh.with_(1, weight=2)) == wanted
        assert key(weigh.with_(1, weight=2.5)) != wanted

    @pytest.mark.parametrize("by", [None, ["note", "count"], []])
    @pytest.mark.parametrize(
        "given",
        [
            {"count": -(2**70), "ratio": 1e300, "is_urgent": True, "note": 'ä"\\\n%s{}\u2028'},
            {"count": 0, "ratio": -0.0, "is_urgent": False, "note": "\n"},
            {"note": "", "is_urgent": True, "ratio": 0.1, "count": 7},
        ],
    )
    def test_that_of_plain_ones_is_made_quicker_and_is_the_same(
        self, given: dict[str, object], by: list[str] | None
    ) -> None:
        unique = Unique(by=by)

        @Pipeline("shop").job(name="50%s", unique=unique)
        async def weigh(count: int, ratio: float, is_urgent: bool, note: str) -> None: ...

        call = JobCall(weigh, given)
        assert key(call) == unique.key_of("shop.50%s", unique.chosen(given)).key

    def test_each_argument_counts(self) -> None:
        sync = sync_job(Unique())
        calls = [
            sync.with_(1),
            sync.with_(2),
            sync.with_(1, tags=frozenset({"a"})),
            sync.with_(1, at=Address("a")),
            sync.with_(1, at=Address("a", 2)),
            sync.with_(1, weight=1.5),
        ]
        assert len({key(it) for it in calls}) == len(calls)

    def test_only_those_that_are_named_count(self) -> None:
        sync = sync_job(Unique(by=["customer"]))
        assert key(sync.with_(1)) == key(sync.with_(1, weight=2))
        assert key(sync.with_(1)) != key(sync.with_(2))

    def test_by_none_of_them_there_is_one_key(self) -> None:
        sync = sync_job(Unique(by=[]))
        assert key(sync.with_(1)) == key(sync.with_(2))

    def test_jobs_of_other_names_have_other_keys(self) -> None:
        one, other = sync_job(Unique()), sync_job(Unique(), name="other")
        assert key(one.with_(1)) != key(other.with_(1))

    def test_the_order_of_a_set_does_not_count_in_any_process(self) -> None:
        program = (
            "from tests.core.test_unique import *; "
            "print(key(sync_job(Unique()).with_(1, frozenset('abcdefghij'))))"
        )
        keys = {
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                check=True,
                text=True,
                env={"PYTHONHASHSEED": seed},
            ).stdout
            for seed in ("1", "2")
        }
        assert keys == {key(sync_job(Unique()).with_(1, frozenset("jihgfedcba"))) + "\n"}

    def test_a_dedupe_text_is_a_key_of_the_job_and_the_place(self) -> None:
        keys = {
            dedupe_key(*it).key
            for it in [("a", "x", 0), ("a", "x", 1), ("a", "y", 0), ("b", "x", 0)]
        }
        assert len(keys) == 4
        assert dedupe_key("a", "x", 0) == dedupe_key("a", "x", 0)


class TestOptions:
    def test_a_window_is_a_duration(self) -> None:
        assert Unique(within="5m").within == timedelta(minutes=5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"by": "customer"}, r"by='customer' must be a list"),
            ({"by": [1]}, r"by=\[1\] must be a list of the names"),
            ({"by": 1}, r"by=1 must be a list"),
            ({"within": "soon"}, r"within='soon' is not a duration"),
            ({"within": 0}, r"within=0 must be longer than nothing"),
            ({"states": "waiting"}, r"states='waiting' must be a set, of: waiting, running"),
            ({"states": ["waiting", "done"]}, r"'done' is none of: waiting, running"),
            (
                {"states": {"running"}},
                r"""must contain "waiting": a job that waits would not keep""",
            ),
            (
                {"on_conflict": "ignore"},
                r"""on_conflict='ignore' must be "existing", "replace" or""",
            ),
        ],
    )
    def test_a_wrong_one_is_refused(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(InvalidOptionError, match=message):
            Unique(**options)  # type: ignore[arg-type]  # that it is refused is the test

    def test_an_argument_that_the_job_does_not_have_is_an_error_of_its_definition(self) -> None:
        with pytest.raises(DefinitionError) as told:
            FlowStone(_pipeline_of(sync_job(Unique(by=["custommer"]))))
        message = str(told.value)
        assert "job 'shop.sync': unique by 'custommer', which is no argument of it" in message
        assert "Did you mean 'customer'? It takes: customer, tags, at, weight" in message

    def test_a_resource_is_no_argument(self) -> None:
        shop = Pipeline("shop")

        @shop.job(unique=Unique(by=["where"]))
        async def sync(where: Address = Requires(Address)) -> None: ...

        with pytest.raises(DefinitionError, match="'where', which is no argument"):
            FlowStone(shop, resources={Address: Address("a")})

    def test_what_is_no_unique_is_refused(self) -> None:
        shop = Pipeline("shop")

        @shop.job(unique=True)  # type: ignore[call-overload]  # that it is refused is the test
        async def sync() -> None: ...

        with pytest.raises(
            DefinitionError, match=r"unique=True must be a Unique: unique=Unique\(\)"
        ):
            FlowStone(shop)


def _pipeline_of(job: AnyJob) -> Pipeline:
    pipeline = Pipeline("shop")
    pipeline._jobs.append(job)
    return pipeline
