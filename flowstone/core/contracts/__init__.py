"""
What others provide, one contract per file.

=====================  ==========================================================================
codec                  values as JSON text, and back as the reader's annotation says
error_normalizer       foreign exceptions as errors of ours, by the exception's classes
io_manager             where values are kept
plugin                 what a package registers with an application
registries             everything that a plugin can add to an application
resource               long-lived things that assets are given
store                  where runs and materializations are kept, and how they move
strategy               how one kind of asset comes to its value: start, and resume after a wait
telemetry_emitter      who is told what happens
=====================  ==========================================================================

Contracts are abstract base classes, checked when they are instantiated; callbacks with a body are
optional. Every contract has a public test suite in ``flowstone.testing.contracts``.
"""
