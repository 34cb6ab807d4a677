"""A branch compares what its final asset returns with what the join is annotated to get."""

from typing import assert_type

from flowstone import Dep, Pipeline, Skip
from flowstone.plugins.parallel import Branch, Failed, Ok, Outcome, Skipped, parallel

data = Pipeline("data")


@data.asset
async def maps() -> list[int]:
    return [1]


@data.asset
def web() -> str:
    return ""


assert_type(Branch(maps), list[int])
assert_type(Branch(maps, timeout="10m"), list[int])
assert_type(Branch(web, required=True), str)
assert_type(Branch(web, required=False), Ok[str] | Failed | Skipped)
assert_type(Branch("other.asset", type=int), int)


@data.asset(queue="etl")
@parallel(timeout="30m", failure_mode="partial")
async def joined(
    maps: list[int] = Branch(maps), web: Outcome[str] = Branch(web, required=False, wait=False)
) -> int | Skip:
    match web:
        case Ok(value):
            assert_type(value, str)
            return len(value)
        case Failed(error):
            assert_type(error, str)
            return Skip(error)
        case Skipped(reason):
            assert_type(reason, str)
            return len(maps)


@data.asset
@parallel()
def plain(maps: list[int] = Branch(maps)) -> int:
    return len(maps)


assert_type(Dep(joined), int)
assert_type(Dep(plain), int)


async def calls() -> None:
    assert_type(await joined([1], Ok("")), int)
    assert_type(plain([1]), int)
    await joined([1], "")  # E:
    plain(["a"])  # E:


@data.asset
async def consumer(base: int = Dep(joined)) -> None: ...


@data.asset
async def wrong_consumer(base: str = Dep(joined)) -> None: ...  # E:


@data.asset
@parallel()
async def wrong_type(maps: list[str] = Branch(maps)) -> None: ...  # E:


@data.asset
@parallel(failure_mode="partial")
async def without_outcome(web: str = Branch(web, required=False)) -> None: ...  # E:


@data.asset
@parallel(failure_mode="partial")
async def wrong_outcome(web: Outcome[int] = Branch(web, required=False)) -> None: ...  # E:


parallel(failure_mode="some")  # E:
parallel("partial")  # E:
Branch("other.asset")  # E:
Branch(maps, wait=False)  # E:
