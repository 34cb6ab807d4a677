"""A value that nothing knows, with the same name in every process: it is part of a test's id."""


class Opaque:
    def __repr__(self) -> str:
        return "Opaque()"
