"""Values that a test gives in the place of upstreams, and the one that is made of them."""

from collections.abc import Mapping, Sequence

from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.contracts.store import Claim, JsonText, StoredInput
from flowstone.core.errors import InvalidOptionError
from flowstone.core.processes.call import Encoded
from flowstone.core.values import MAX_BYTES, Kept, Values


class GivenValues(Values):
    """
    Takes the place of an application's values for one attempt, and touches no IO manager.

    What the store would keep becomes JSON and comes back, as on its way between two assets. What an
    IO manager would keep goes as the object that it is.

    Attributes:
        sources: What a claim brings.
        kept: The value that an IO manager would have been given.
    """

    def __init__(
        self, app: FlowStone, asset: Asset[..., object], inputs: Mapping[str, object]
    ) -> None:
        super().__init__(app.store, app.registries, app.codec, app._emitter)
        self.kept: object = None
        self._texts = app.codec
        self._objects: dict[int, object] = {}
        by_upstream = _by_upstream(asset, inputs)
        self.sources = [
            self._source(app, number, upstream, value)
            for number, (upstream, value) in enumerate(by_upstream.items(), start=1)
        ]

    def _source(self, app: FlowStone, number: int, upstream: str, value: object) -> StoredInput:
        self._objects[number] = value
        io = app.definitions.get(upstream).options.io
        holder = None if io is None else self.io.holder(io)
        text = self._texts.encode(value, max_bytes=MAX_BYTES) if holder is None else None
        return StoredInput(upstream, number, holder, None, text)

    async def bring(self, sources: Sequence[StoredInput]) -> None:
        """All is here."""

    async def load(self, source: StoredInput, partition: str, annotation: object) -> object:
        """Return what was given, as the reader's annotation says."""
        if source.value is None:
            return self._objects[source.materialization_id]
        return self._texts.decode(source.value, annotation)

    async def text(self, source: StoredInput, partition: str, annotation: object) -> JsonText:
        """Return what was given as the codec's text."""
        return source.value or self._texts.encode(self._objects[source.materialization_id])

    async def store(self, io: str, claim: Claim, value: object) -> Kept:
        """Keep the value here."""
        is_ours = self.io.holder(io) is None
        if isinstance(value, Encoded):
            if is_ours:
                return Kept(value.text)
            value = self._texts.decode(value.text, value.annotation)
        elif is_ours:
            return Kept(self._texts.encode(value, max_bytes=MAX_BYTES))
        self.kept = value
        return Kept(io=io)


def _by_upstream(asset: Asset[..., object], inputs: Mapping[str, object]) -> dict[str, object]:
    """
    Return the inputs by what they come from.

    Raises:
        InvalidOptionError: One is unknown, a required one is missing, or two parameters of one
            upstream are given different values.
    """
    wanted = {it.parameter for it in asset.inputs} | {it.upstream for it in asset.inputs}
    known = ", ".join(dict.fromkeys(it.parameter for it in asset.inputs)) or "none"
    unknown = sorted(inputs.keys() - wanted)
    if unknown:
        raise InvalidOptionError(
            f"inputs: '{asset.full_name}' takes no {', '.join(unknown)}; it takes: {known}"
        )
    given: dict[str, object] = {}
    for it in asset.inputs:
        name = it.parameter if it.parameter in inputs else it.upstream
        if name in inputs:
            value = given.setdefault(it.upstream, inputs[name])
            if value is not inputs[name] and value != inputs[name]:
                raise InvalidOptionError(
                    f"inputs: '{it.parameter}' and another parameter are both the value of "
                    f"'{it.upstream}': give them the same"
                )
    missing = {it.parameter for it in asset.inputs if it.upstream not in given and not it.optional}
    if missing:
        text = ", ".join(f'"{name}": …' for name in sorted(missing))
        raise InvalidOptionError(
            f"inputs: '{asset.full_name}' needs more than was given; write inputs={{{text}}}"
        )
    return given
