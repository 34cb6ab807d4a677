"""Routers: assets that select which of several branches a run takes, once."""

from flowstone.plugins.routing.choice import Choice, choice
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision, Rule
from flowstone.plugins.routing.errors import (
    DecisionNotFoundError,
    InvalidBranchError,
    InvalidPredicateError,
)
from flowstone.plugins.routing.first_of import FirstOf
from flowstone.plugins.routing.route import route
from flowstone.plugins.routing.routed import routed_from

__all__ = [
    "Choice",
    "Decision",
    "DecisionNotFoundError",
    "FirstOf",
    "InvalidBranchError",
    "InvalidPredicateError",
    "RoutingCoordinator",
    "Rule",
    "choice",
    "route",
    "routed_from",
]
