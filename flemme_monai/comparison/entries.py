"""What a comparison compares: pairs, bundles in folders, patterns of both, and variants under names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..commands.bundle_files import find_bundle, read_config
from ..commands.places import BUNDLES
from ..registry import ARCHITECTURES, ENCODERS, NETWORKS, pairs
from ..utils.errors import did_you_mean

NETWORK_ROWS = "networks"  # the word for all networks from elsewhere
WILDCARDS = "*?["


@dataclass(frozen=True)
class Entry:
    """One bundle of a comparison.

    Args:
        name: in tables, and of its folder.
        source: the pair, or the path of the bundle's folder.
        architecture: key of the registry.
    """

    name: str
    source: str
    architecture: str

    @property
    def encoder(self) -> str:
        """Its name without the architecture, which plain and hierarchical bundles of an encoder share."""
        words = self.name.split("_")
        return "_".join(word for word in words if word != self.architecture) or self.name

    @property
    def backbone(self) -> str:
        """The key of the encoder or network that it is made of; empty of a bundle in a folder that names none."""
        if Path(self.source).is_absolute():
            return next((word for word in Path(self.source).name.split("_") if word in (*ENCODERS, *NETWORKS)), "")
        return self.source.partition("_")[2]

    @property
    def hierarchical(self) -> bool:
        """Whether its architecture predicts at every level."""
        return ARCHITECTURES[self.architecture].hierarchical

    @property
    def task(self) -> str:
        """What its architecture is for."""
        return ARCHITECTURES[self.architecture].task


def entries(names: Sequence[str], architectures: Sequence[str], encoders: Sequence[str] | None) -> list[Entry]:
    """The bundles that are compared, each once.

    Args:
        names: pairs, bundles by name or path, patterns of these, or ``NAME=PAIR`` for a pair under another name.
        architectures: that meet each encoder.
        encoders: keys of encoders and networks; ``networks`` for all shipped ones of the latter; None for all encoders.

    Raises:
        ValueError: If a pattern fits nothing, or two entries have one name.
        FileNotFoundError: If there is neither a pair nor a bundle of a name.
    """
    shipped = set(pairs(shipped=True))
    found = [entry for name in names for entry in _named(name)]
    chosen = [key for name in encoders or ENCODERS for key in (NETWORKS if name == NETWORK_ROWS else [name])]
    for pair in (f"{architecture}_{key}" for key in chosen for architecture in architectures):
        if pair in shipped or pair.partition("_")[2] in (encoders or ()):
            found.append(_pair(pair))
    by_name: dict[str, Entry] = {}
    for entry in found:
        if by_name.setdefault(entry.name, entry) != entry:
            raise ValueError(
                f"two bundles are called {entry.name!r}; expected one: name the second as NAME={entry.name}"
            )
    return list(by_name.values())


def _named(name: str) -> list[Entry]:
    alias, equals, source = name.partition("=")
    if equals:
        found = _named(source)
        if len(found) != 1 or not alias.isidentifier():
            raise ValueError(
                f"{name!r} is no variant; expected NAME=PAIR: letters, digits and underscores, and one pair"
            )
        return [Entry(alias, found[0].source, found[0].architecture)]
    if any(letter in name for letter in WILDCARDS):
        others = sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/metadata.json"))
        known = list(dict.fromkeys([*pairs(shipped=True), *others]))
        matching = [one for one in known if fnmatch(one, name)]
        if not matching:
            raise ValueError(f"the pattern {name!r} fits no bundle; {did_you_mean(name, known)}")
        return [entry for one in matching for entry in _named(one)]
    return [_pair(name) if name in pairs() else _bundle(find_bundle(name))]


def _pair(pair: str) -> Entry:
    return Entry(pair, pair, pair.partition("_")[0])


def _bundle(folder: Path) -> Entry:
    target = network_target(read_config(folder, "train"))
    by_class = {architecture.path.rpartition(".")[2]: key for key, architecture in ARCHITECTURES.items()}
    architecture = by_class.get(target.rpartition(".")[2])
    if architecture is None:
        raise ValueError(
            f"the network of {folder} is a {target or 'network without _target_'}; expected one of "
            f"{', '.join(by_class)}: name a bundle of this collection"
        )
    return Entry(folder.name, str(folder), architecture)


def network_target(config: dict[str, Any]) -> str:
    """The class of a bundle's network as its ``train.json`` names it."""
    return str(config.get("network_def", {}).get("_target_", ""))
