"""Pack bundles as the MONAI model zoo hosts them: NAME_v<version>.zip with NAME/ on top, and its sha256 beside it.

    flemme-monai package sem_unet --output_dir dist

The same files give the same bytes. What runs have left in the folder stays out, and so does every file over 25 MB:
it is named in the zip's large_files.yml, for which `--large_files_url` says where such files are hosted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .bundle_files import (
    AUTOENCODER_WEIGHTS,
    LARGE_FILES,
    MAX_BYTES,
    WEIGHTS,
    check_no_python,
    check_self_contained,
    check_structure,
    check_version,
    find_bundle,
    missing_weights,
    read_config,
    read_large_files,
)

SHIPPED = (
    "LICENSE",
    "configs/*.json",
    "configs/*.conf",
    "docs/**/*",
    "models/**/*.pt",
    "models/**/*.ts",
    "models/**/network.json",
)
LEFT_BY_TRAINING = ("last.pt", "model_raw.pt", "model_epoch_*.pt", "model_best_*.pt", "pretrained/*")
EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest time a zip can hold; entries are stored, so the bytes do not hang on a zlib


def shipped_files(bundle: Path) -> list[Path]:
    """The files of a bundle that belong to it, sorted: neither caches, hidden files, nor what runs have written."""
    found = {path for pattern in SHIPPED for path in bundle.glob(pattern) if path.is_file()}
    found -= {path for name in LEFT_BY_TRAINING for path in (bundle / "models").rglob(name)}
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(bundle).parts))


def large_file_entries(bundle: Path, files: Sequence[Path], url: str | None) -> list[dict[str, str]]:
    """The entries of large_files.yml: those the bundle has, and one for each file over 25 MB that has none.

    Args:
        bundle: the bundle's folder.
        files: the files to pack.
        url: address below which large files are hosted, as `<url>/<name>_v<version>/<path>`.

    Raises:
        ValueError: If a file is too large and no address is given, or is not the one its entry describes.
    """
    entries = read_large_files(bundle)
    known = {entry["path"]: entry for entry in entries}
    for path in files:
        name = path.relative_to(bundle).as_posix()
        if name in known and known[name].get("hash_val"):
            hash_type = known[name].get("hash_type", "md5")
            if file_hash(path, hash_type) != known[name]["hash_val"]:
                raise ValueError(f"{path} is not the file {LARGE_FILES} describes: its {hash_type} differs.")
        elif name not in known and path.stat().st_size > MAX_BYTES:
            if url is None:
                megabytes = path.stat().st_size / 1e6
                raise ValueError(f"{path} has {megabytes:.0f} MB, over 25: give its host with --large_files_url.")
            source = f"{url.rstrip('/')}/{versioned_name(bundle)}/{name}"
            entries.append({"path": name, "url": source, "hash_val": file_hash(path), "hash_type": "sha256"})
    return entries


def file_hash(path: Path, hash_type: str = "sha256") -> str:
    """The hexadecimal digest of a file."""
    digest = hashlib.new(hash_type)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versioned_name(bundle: Path) -> str:
    """`NAME_v<version>`."""
    return f"{bundle.name}_v{read_config(bundle, 'metadata')['version']}"


def to_yaml(entries: Sequence[dict[str, str]]) -> str:
    """large_files.yml in the zoo's form."""
    lines = ["large_files:"]
    for entry in entries:
        pairs = [f'{key}: "{value}"' for key, value in entry.items()]
        lines += [f"  - {pairs[0]}", *(f"    {pair}" for pair in pairs[1:])]
    return "\n".join(lines) + "\n"


def check_record(bundle: Path) -> None:
    """The configs alone, which clients read, describe the network and the settings that the weights were trained with.

    Raises:
        ValueError: If a ``network.json`` beside the weights says otherwise.
    """
    from monai.bundle import ConfigParser

    from ..utils.record import contradictions, read_record, record_path

    for name, network in ((WEIGHTS, "network_def"), (AUTOENCODER_WEIGHTS, "autoencoder_def")):
        record = read_record(bundle / name)
        if record is None:
            continue
        parser = ConfigParser(read_config(bundle, "inference"))
        parser["trained"] = {}
        settings = parser.get_parsed_content("network_settings") if name == WEIGHTS else {}
        found = contradictions(
            record, record_path(bundle / name), parser.get_parsed_content(network), settings, network
        )
        if found:
            raise ValueError(f"{found}; make a bundle of these settings with flemme-monai make")


def package(bundle: Path, output_dir: Path, large_files_url: str | None = None) -> Path:
    """Write a bundle's zip and its `.sha256`, after the checks of its files.

    Args:
        bundle: the bundle's folder, which is only read.
        output_dir: folder to write to, made if it is not there.
        large_files_url: address below which files over 25 MB are hosted.

    Returns:
        The zip's path.

    Raises:
        ValueError: If a check fails or a large file has no address.
    """
    for check in (check_structure, check_version, check_no_python, check_self_contained, check_record):
        try:
            check(bundle)
        except ValueError as error:
            raise ValueError(f"{bundle.name}: {error}") from error
    files = shipped_files(bundle)
    entries = large_file_entries(bundle, files, large_files_url)
    hosted = {entry["path"] for entry in entries}
    names = {path.relative_to(bundle).as_posix(): path for path in files}
    contents = {name: path.read_bytes() for name, path in names.items() if name not in hosted}
    if entries:
        contents[LARGE_FILES] = to_yaml(entries).encode()

    output_dir.mkdir(parents=True, exist_ok=True)
    target = output_dir / f"{versioned_name(bundle)}.zip"
    partial = target.with_suffix(".zip.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{bundle.name}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    partial.replace(target)
    target.with_suffix(".zip.sha256").write_text(f"{file_hash(target)}  {target.name}\n", encoding="utf-8")
    return target


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Pack the bundles named on the command line.

    Returns:
        1 when one is refused, else 0.
    """
    parser = argparse.ArgumentParser(prog=prog, description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="names in bundles/, or paths")
    parser.add_argument("--output_dir", type=Path, default=Path("dist"), help="where to write (default: dist)")
    parser.add_argument("--large_files_url", help="address below which files over 25 MB are hosted")
    args = parser.parse_args(argv)
    refused = 0
    for name in args.names:
        try:
            bundle = find_bundle(name)
            target = package(bundle, args.output_dir, args.large_files_url)
        except (FileNotFoundError, ValueError) as error:
            print(f"refused: {error}", file=sys.stderr)
            refused = 1
            continue
        print(f"{file_hash(target)}  {target}")
        untrained = missing_weights(bundle)
        if untrained and not read_large_files(bundle):
            print(
                f"{bundle.name} has no {', '.join(untrained)}: the zoo takes it with trained weights only.",
                file=sys.stderr,
            )
    return refused
