"""What an attempt asks of a child process: to call an asset's function, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from flowstone.core.contracts.store import JsonText
from flowstone.core.processes.messages import Message
from flowstone.core.results import Cancel, Skip, Snooze


@dataclass(frozen=True, slots=True)
class Crossing:
    """
    What came over an edge, on its way to the child.

    Attributes:
        asset: The upstream's full name.
        status: How it ended.
        text: Its value as the codec's text; None when it has none.
    """

    asset: str
    status: str
    text: JsonText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What is known of the attempt; JSON.

    Attributes:
        asset: Its full name.
        run_id: None is a job.
        config: The fields that the run gives.
        max_bytes: The most that the result may have as text; None is no limit.
    """

    asset: str
    partition: str
    run_id: int | None
    materialization_id: int
    attempt: int
    queue: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """
    One call of an asset's function.

    Attributes:
        inputs: One for each input of its signature, in that order.
        supplied: Arguments that the strategy supplies, by parameter.
    """

    facts: Facts
    inputs: Sequence[Crossing]
    supplied: Mapping[str, JsonText] = field(default_factory=dict)

    def dump(self) -> Message:
        """Return the message that `Call.load` reads."""
        head = {
            "is": "call",
            "facts": asdict(self.facts),
            "inputs": [[it.asset, it.status, it.text is not None] for it in self.inputs],
            "supplied": list(self.supplied),
        }
        texts = [it.text for it in self.inputs if it.text is not None]
        return Message(head, [it.encode() for it in (*texts, *self.supplied.values())])

    @classmethod
    def load(cls, message: Message) -> "Call":
        """Return what `Call.dump` wrote."""
        texts = (it.decode() for it in message.texts)
        inputs = [
            Crossing(asset, status, next(texts) if has_text else None)
            for asset, status, has_text in message.head["inputs"]
        ]
        supplied = {name: next(texts) for name in message.head["supplied"]}
        return cls(Facts(**message.head["facts"]), inputs, supplied)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that is the codec's text already, and the annotation that it is read by."""

    text: JsonText
    annotation: object = object


Returned: TypeAlias = Encoded | Skip | Snooze | Cancel


def dump_returned(returned: Returned) -> Message:
    """Return the message that `load_returned` reads."""
    match returned:
        case Encoded(text):
            return Message({"is": "value"}, [text.encode()])
        case Snooze(delay):
            return Message({"is": "snooze", "seconds": delay.total_seconds()})
        case Skip(reason):
            return Message({"is": "skip", "reason": reason})
        case Cancel(reason):
            return Message({"is": "cancel", "reason": reason})


def load_returned(message: Message, annotation: object) -> Returned:
    """Return what `dump_returned` wrote; a value is read by the annotation."""
    head: Mapping[str, Any] = message.head
    match head["is"]:
        case "snooze":
            return Snooze(timedelta(seconds=head["seconds"]))
        case "skip":
            return Skip(head["reason"])
        case "cancel":
            return Cancel(head["reason"])
        case _:
            return Encoded(message.texts[0].decode(), annotation)
