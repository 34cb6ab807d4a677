"""The signal that an asset waits for, sent by a test."""

from flowstone.core import partition as partitions
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.plugins.signal_gate.coordinator import Answered, GateCoordinator
from flowstone.plugins.signal_gate.signaling import signal


async def send_signal(
    app: FlowStone,
    asset: Asset[..., object] | str,
    payload: object = None,
    *,
    partition: object = None,
) -> Answered:
    """
    Signal the one open gate of an asset, whatever its token; `drain` then goes on.

    ``flowstone.plugins.signal_gate.signal`` takes a token instead, and raises the same.

    Raises:
        AssertionError: The asset waits at no gate, or at several.
    """
    name = asset if isinstance(asset, str) else asset.full_name
    encoded = partitions.encode(partition)
    open_ = await app.coordinator(GateCoordinator).waiting(asset=name, limit=10_000)
    found = [gate for gate in open_ if gate.partition == encoded]
    if len(found) != 1:
        others = ", ".join(f"{it.asset}[{it.partition}]" for it in open_) or "none"
        raise AssertionError(
            f"{name}[{encoded}] waits at {len(found)} gates, not at one; open ones of it: {others}"
        )
    return await signal(app, found[0].token, payload)
