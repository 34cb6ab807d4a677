"""
The durable half of FlowStone: Postgres, procrastinate, and workers on top of them.

Reading order, lowest first:

* ``dsn``                one spelling of a connection string for three drivers
* ``embedded``           a Postgres of our own, when none is given; ``embedded_cluster`` runs it
* ``database_errors``    SQLSTATEs in, FlowStone errors out; the only file that reads them
* ``statements``         where the SQL lies, and the text that calls one of its functions
* ``schema``             create, upgrade and check the tables (Alembic, run from code)
* ``fingerprint``        is the procrastinate beneath us one that we know?
* ``triggers``           procrastinate's row triggers, or ours that work by statement
* ``connector``          procrastinate's own Python on asyncpg, in a schema of one's choice
* ``caller_connection``  one statement inside the transaction of whoever calls us

Python here calls SQL functions and reads views by qualified name; it holds no other SQL of the
model. The SQL itself is in ``sql/``, written to be read.
"""
