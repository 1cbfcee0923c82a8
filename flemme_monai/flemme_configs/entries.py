"""The entries of a config of Flemme, each of which is taken, or named at the end as one that nothing took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Conversion:
    """What a config of Flemme is here.

    Args:
        pair: the bundle's architecture and encoder, by their keys in the registry.
        settings: values by the settings' names.
        of_workflows: further values of one workflow alone, by its name.
        notes: what is done otherwise here.
        missing: what has no counterpart.
    """

    pair: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    of_workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Entries:
    """A section of a config, whose keys are taken one by one.

    Args:
        content: what the YAML holds there.
        path: where it stands, as ``model.encoder``.
        conversion: what is said of the config.

    Raises:
        ValueError: If it is no mapping of keys.
    """

    def __init__(self, content: Any, path: str, conversion: Conversion) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{path or 'the file'} holds {content!r}; expected keys and values")
        self._content = dict(content)
        self.path, self.conversion = path, conversion

    def __contains__(self, key: str) -> bool:
        return self._content.get(key) is not None

    def names(self) -> list[str]:
        """The keys that are left."""
        return list(self._content)

    def take(self, key: str, default: Any = None, former: Sequence[str] = ()) -> Any:
        """The value of a key, or of a former name of it; ``default`` where it is not there or empty."""
        found = [self._content.pop(name, None) for name in (key, *former)]
        return next((value for value in found if value is not None), default)

    def section(self, key: str) -> Entries | None:
        """A section below this one; None without it."""
        content = self.take(key)
        return None if content is None else Entries(content, self.name_of(key), self.conversion)

    def sections(self, key: str) -> list[Entries]:
        """The sections in a list, of which one may stand without a list."""
        content = self.take(key, [])
        items = content if isinstance(content, list) else [content]
        return [Entries(item, f"{self.name_of(key)}[{i}]", self.conversion) for i, item in enumerate(items)]

    def name_of(self, key: str) -> str:
        """Where a key stands in the file."""
        return f"{self.path}.{key}" if self.path else key

    def note(self, key: str, text: str) -> None:
        """Say what is done otherwise here."""
        self.conversion.notes.append(f"{self.name_of(key)}: {text}")

    def lack(self, key: str, text: str) -> None:
        """Say what has no counterpart."""
        self.conversion.missing.append(f"{self.name_of(key)}: {text}")

    def skip(self, *keys: str) -> None:
        """Take keys that need no counterpart."""
        for key in keys:
            self._content.pop(key, None)

    def close(self) -> None:
        """Name the keys that nothing took."""
        for key, value in self._content.items():
            if value is not None:
                self.lack(key, f"is {value!r}, which is no setting that is known")
        self._content = {}
