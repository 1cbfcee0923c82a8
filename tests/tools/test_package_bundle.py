"""A packed bundle: what is in it, that its bytes are reproducible, and when packing is refused."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import load

from flemme_monai.commands import bundle_files
from flemme_monai.commands import package as package_bundle
from flemme_monai.commands.bundle_files import read_config, read_large_files
from flemme_monai.commands.package import main, package
from flemme_monai.commands.places import BUNDLES

METADATA = "configs/metadata.json"


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of file size that a test can afford to exceed."""
    for module in (bundle_files, package_bundle):
        monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    return 100_000


def add_weights(bundle: Path, size: int = 8) -> Path:
    """Give a bundle a checkpoint of about `size` bytes."""
    (bundle / "models").mkdir(exist_ok=True)
    torch.save({"weight": torch.zeros(max(size // 4, 1))}, bundle / "models" / "model.pt")
    return bundle / "models" / "model.pt"


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return file.namelist()


def test_the_zip_holds_the_bundle_under_its_name(bundle: Path, tmp_path: Path) -> None:
    add_weights(bundle)
    target = package(bundle, tmp_path / "dist")
    assert target.name == f"sem_unet_v{read_config(bundle, 'metadata')['version']}.zip"
    names = names_in(target)
    assert names == sorted(names)
    assert all(name.startswith("sem_unet/") for name in names)
    for name in (*bundle_files.required_files(bundle), "models/model.pt"):
        assert f"sem_unet/{name}" in names


def test_the_sha256_is_the_zips_own(bundle: Path, tmp_path: Path) -> None:
    target = package(bundle, tmp_path / "dist")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    assert target.with_suffix(".zip.sha256").read_text(encoding="utf-8").split() == [digest, target.name]


def test_the_same_files_give_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    first = package(bundle, tmp_path / "first").read_bytes()
    for path in bundle.rglob("*"):
        path.touch()
    (bundle / "LICENSE").chmod(0o600)
    assert package(bundle, tmp_path / "second").read_bytes() == first


def test_what_runs_leave_behind_stays_out(bundle: Path, tmp_path: Path) -> None:
    before = names_in(package(bundle, tmp_path))
    left = ("output/train/metrics.csv", "models/last.pt", "models/autoencoder/last.pt", "models/model_raw.pt")
    for name in (*left, "models/model_epoch_0004.pt", "docs/.ipynb_checkpoints/x.md", ".DS_Store"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("left", encoding="utf-8")
    assert names_in(package(bundle, tmp_path)) == before


def test_latent_diffusion_ships_its_autoencoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "ldm_cnn"
    shutil.copytree(BUNDLES / "ldm_cnn", bundle, ignore=shutil.ignore_patterns("models"))
    add_weights(bundle)
    assert main([str(bundle), "--output_dir", str(tmp_path / "dist")]) == 0
    assert "has no models/autoencoder/model.pt" in capsys.readouterr().err
    (bundle / "models" / "autoencoder").mkdir()
    shutil.copy(bundle / "models" / "model.pt", bundle / "models" / "autoencoder" / "model.pt")
    assert "ldm_cnn/models/autoencoder/model.pt" in names_in(package(bundle, tmp_path / "dist"))


def test_a_packed_bundle_loads_after_unpacking(bundle: Path, tmp_path: Path) -> None:
    network = bundle_network(bundle)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    with zipfile.ZipFile(package(bundle, tmp_path / "dist")) as file:
        file.extractall(tmp_path / "unpacked")
    loaded = load("sem_unet", bundle_dir=tmp_path / "unpacked", device="cpu").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def bundle_network(bundle: Path) -> torch.nn.Module:
    from flemme_monai.commands.bundle_runs import read_stack

    return read_stack(bundle, ("train",)).get_parsed_content("network_def")


def test_what_the_weights_mean_is_packed_with_them(bundle: Path, tmp_path: Path) -> None:
    from flemme_monai.utils.record import make_record, write_record

    network = bundle_network(bundle)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    write_record(bundle / "models", make_record(network, {"num_classes": 4, "image_size": [32, 32]}))
    assert "sem_unet/models/network.json" in names_in(package(bundle, tmp_path / "dist"))
    write_record(bundle / "models", make_record(network, {"num_classes": 3}))
    with pytest.raises(ValueError, match=r"num_classes is 4 here and 3 in .*network\.json; make a bundle of these"):
        package(bundle, tmp_path / "again")


def test_a_large_file_is_left_out_and_named_with_its_hash(bundle: Path, tmp_path: Path, small_limit: int) -> None:
    weights = add_weights(bundle, 2 * small_limit)
    target = package(bundle, tmp_path / "dist", "https://example.org/files/")
    assert "sem_unet/models/model.pt" not in names_in(target)
    with zipfile.ZipFile(target) as file:
        assert all(entry.file_size <= small_limit for entry in file.infolist())
        file.extract("sem_unet/large_files.yml", tmp_path)
    assert read_large_files(tmp_path / "sem_unet") == [
        {
            "path": "models/model.pt",
            "url": f"https://example.org/files/{target.stem}/models/model.pt",
            "hash_val": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "hash_type": "sha256",
        }
    ]


def test_large_files_yml_is_what_the_zoo_writes(bundle: Path) -> None:
    (bundle / "large_files.yml").write_text(
        'large_files:\n  - path: "models/model.pt"\n    url: "https://x.org/a:b"\n    hash_val: "12"\n'
        '    hash_type: "md5"\n  - path: models/model.ts\n    url: https://x.org/c\n',
        encoding="utf-8",
    )
    entries = read_large_files(bundle)
    assert entries == [
        {"path": "models/model.pt", "url": "https://x.org/a:b", "hash_val": "12", "hash_type": "md5"},
        {"path": "models/model.ts", "url": "https://x.org/c"},
    ]
    (bundle / "large_files.yml").write_text(package_bundle.to_yaml(entries), encoding="utf-8")
    assert read_large_files(bundle) == entries


def test_a_large_file_without_an_address_is_refused(bundle: Path, tmp_path: Path, small_limit: int) -> None:
    add_weights(bundle, 2 * small_limit)
    with pytest.raises(ValueError, match=r"model\.pt has .* --large_files_url"):
        package(bundle, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_file_that_is_not_the_described_one_is_refused(bundle: Path, tmp_path: Path) -> None:
    add_weights(bundle)
    entry = {"path": "models/model.pt", "url": "https://x.org/a", "hash_val": "0" * 64, "hash_type": "sha256"}
    (bundle / "large_files.yml").write_text(package_bundle.to_yaml([entry]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"not the file large_files\.yml describes"):
        package(bundle, tmp_path)


def test_a_bundle_with_a_missing_file_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "LICENSE").unlink()
    assert main([str(bundle), "--output_dir", str(tmp_path / "dist")]) == 1
    assert "refused: sem_unet: missing LICENSE" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_a_version_without_a_changelog_entry_is_refused(bundle: Path, tmp_path: Path) -> None:
    metadata = read_config(bundle, "metadata") | {"version": "9.9.9"}
    (bundle / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ValueError, match=r"sem_unet: version 9\.9\.9 is not in the changelog"):
        package(bundle, tmp_path)


def test_missing_weights_are_said_aloud(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bundle), "--output_dir", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "has no models/model.pt" in printed.err
    assert printed.out.split()[0] == next(tmp_path.glob("*.sha256")).read_text(encoding="utf-8").split()[0]


def test_an_unknown_name_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_such_bundle", "--output_dir", str(tmp_path)]) == 1
    assert "no bundle 'no_such_bundle'" in capsys.readouterr().err
