"""
Child processes, where ``executor="process"`` runs plain functions.

::

    Processes (a worker's: at most so many at once)      place       how a child finds an asset
      └─ Children (an application's: kept and reused)    call        what an attempt asks of a child
           └─ Child ──socket pair──▶ entry               messages    what goes over the border
                      values as the codec's text         carried_error  child_logging

A child is a new interpreter (never a fork) that imports the module of an asset and calls its
function. It ends when the socket does, so it does not outlive its worker.
"""
