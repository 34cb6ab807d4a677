"""
The core: what an asset is, and what others must provide. Standard library only.

====================  ===========================================================================
definitions           ``asset`` ``pipeline`` ``dependency`` ``config`` ``context`` ``partition``
                      ``retry`` ``results`` ``dag`` ``definitions`` ``graph``
work                  ``plan`` ``run`` ``execution`` ``worker`` ``status`` ``outcome`` ``handle``
an application        ``application`` ``registry`` ``registries`` ``plugin`` ``resources``
                      ``telemetry`` ``telemetry_catalogue``
errors                ``errors`` ``error_record`` ``suggestion``
contracts             what an implementation must do, one per file; ``contract_version``
defaults              the implementations that need no service
====================  ===========================================================================
"""
