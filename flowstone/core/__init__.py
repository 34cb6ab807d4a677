"""
The core: what an asset is, and what others must provide. Standard library only.

====================  ===========================================================================
definitions           ``asset`` ``pipeline`` ``dependency`` ``config`` ``context`` ``partition``
                      ``retry`` ``results`` ``dag`` ``definitions`` ``graph``
asked for             ``application`` ``submission`` ``planner`` ``run_options``
done                  ``worker`` ``underway`` ``executor`` ``attempt`` ``outcome`` ``status``
                      ``values`` ``local_run``
seen                  ``handle`` ``stored_values`` ``asset_status`` ``wakeups``
around it             ``registry`` ``registries`` ``plugin`` ``resources`` ``telemetry``
                      ``telemetry_catalogue``
errors                ``errors`` ``error_record`` ``suggestion``
contracts             what an implementation must do, one per file; ``contract_version``
defaults              the implementations that need no service
====================  ===========================================================================

From `enqueue` to succeeded: application → submission → planner → `Store.create_run` → a worker's
turn claims it → executor → attempt → strategy → a settlement → the next turn stores it and makes
ready what depends on it.
"""
