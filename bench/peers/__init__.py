"""One script per peer; each runs with the interpreter of that peer's own environment."""
