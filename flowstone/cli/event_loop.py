"""The event loop of a process of ours: uvloop where it is installed, else asyncio's own."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """
    Return a loop that nobody runs yet; `asyncio.Runner` takes this function as it is.

    The extra ``fast`` brings uvloop. Only a process that is ours through and through uses it: an
    application that calls FlowStone has chosen its own.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
