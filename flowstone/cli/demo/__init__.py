"""
The demo: a pipeline that examines the Python environment it runs in.

``pipeline`` holds the assets; each calls one module of plain functions (``environment``,
``recorded_files``, ``verification``, ``dependency_graph``, ``licenses``, ``sizes``,
``unowned_files``, ``startup``, ``affected``, ``answer``) that know nothing of FlowStone. The values
that flow between them are in ``records``; ``terminal`` and ``html`` show the last, the ``Report``.
"""
