"""What is wrong with a file, said without its name."""

from __future__ import annotations


class RefusalError(ValueError):
    """A file is not read; the message is one line about it, to which who knows the path adds its name."""
