"""One script per benchmark of ours; each runs in a process of its own, as a peer's does."""
