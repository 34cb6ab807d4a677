"""
The core: what an asset is, and what others must provide. Standard library only.

====================  ===========================================================================
definitions           ``asset`` ``pipeline`` ``dependency`` ``config`` ``context`` ``partition``
                      ``retry`` ``results`` ``dag`` ``definitions`` ``graph``
work                  ``plan`` ``run`` ``execution`` ``worker`` ``status`` ``outcome`` ``handle``
an application        ``application`` ``registry`` ``registries`` ``plugin`` ``resources``
                      ``telemetry``
errors                ``errors`` ``error_record`` ``suggestion``
contracts             what an implementation must do, one per file
defaults              the implementations that need no service
====================  ===========================================================================
"""
