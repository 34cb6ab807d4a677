"""A router's value is a `Decision`; predicates, branches and where they meet are typed."""

from dataclasses import dataclass
from typing import Literal, assert_type

from flowstone import Context, Dep, Pipeline, Skip
from flowstone.plugins.routing import Choice, Decision, FirstOf, choice, route, routed_from


@dataclass
class Query:
    text: str


@dataclass
class Square:
    name: str


@dataclass
class Place:
    name: str


sales = Pipeline("sales")


@sales.asset
def query() -> Query:
    return Query("")


def is_square(query: Query) -> bool:
    return query.text.isupper()


async def is_place(query: Query, ctx: Context, other: Query = Dep(query)) -> bool:
    return ctx.attempt == 1 and query != other


def is_even(number: int) -> bool:
    return number % 2 == 0


def says_how_many(query: Query) -> int:
    return len(query.text)


@sales.asset(retry=3)
@route(choice("square", when=is_square), choice("place", when=is_place), default="place")
async def kind(query: Query = Dep(query)) -> Query | Skip:
    return query


@sales.asset
@route(
    Choice[Query]("square", when=lambda query: query.text.isupper()),
    default="place",
    on_error="place",
)
def plain_kind(query: Query = Dep(query)) -> Query:
    return query


@sales.asset
@route
async def named_kind() -> Literal["square", "place"] | None:
    return None


@sales.asset
@route(on_error="place")
def plain_named_kind() -> Literal["square", "place"]:
    return "place"


assert_type(Dep(kind), Decision)
assert_type(Dep(plain_kind), Decision)
assert_type(Dep(named_kind), Decision)
assert_type(Dep(plain_named_kind), Decision)
assert_type(plain_kind(Query("")), Query)


async def calls() -> None:
    assert_type(await kind(Query("")), Query)


@sales.asset
@route(choice("even", when=is_even), default="odd")  # E:
async def of_something_else(query: Query = Dep(query)) -> Query:
    return query


choice("how many", when=says_how_many)  # E:


@sales.asset
@routed_from(kind, "square")
async def by_square(query: Query = Dep(query)) -> Square | Skip:
    return Square(query.text)


@sales.asset(queue="etl")
@routed_from("sales.kind", "place")
def by_place(query: Query = Dep(query)) -> Place:
    return Place(query.text)


@sales.asset
@routed_from(kind, "square")
@route(choice("a", when=is_square))
async def nested(query: Query = Dep(query)) -> Query:
    return query


assert_type(Dep(by_square), Square)
assert_type(Dep(by_place), Place)
assert_type(Dep(nested), Decision)
assert_type(by_place(Query("")), Place)

routed_from(by_place, "square")  # E:


@sales.asset
async def met(found: Square | Place = FirstOf(by_square, by_place)) -> str:
    return found.name


assert_type(FirstOf(by_square, by_place), Square | Place)
assert_type(FirstOf(by_square, by_square, by_place), Square | Place)


@sales.asset
async def met_by_names(found: Place = FirstOf("by_place", "other.place", type=Place)) -> str:
    return found.name


@sales.asset
async def met_wrongly(found: Square = FirstOf(by_square, by_place)) -> str:  # E:
    return found.name


@sales.asset
async def decided(decision: Decision = Dep(kind)) -> str | None:
    return decision.selected_branch
