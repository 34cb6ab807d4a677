"""Ports for those who have to be told theirs."""

import os
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """Return one that nobody has, and that nobody gets who leaves the choice to the system."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        try:
            with socket.create_server((HOST, port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")
