"""The table says of each class what the class says of itself."""

from __future__ import annotations

import subprocess
import sys
from pydoc import locate

import pytest

from flemme_monai import architectures, backbones, registry
from flemme_monai.backbones import BlockFamily, EncoderDecoder
from flemme_monai.registry import ARCHITECTURES, ENCODERS, FAMILIES, NETWORKS, Network, pairs, serves

TABLES = {"FAMILIES": FAMILIES, "ENCODERS": ENCODERS, "NETWORKS": NETWORKS, "ARCHITECTURES": ARCHITECTURES}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_found_by_its_key_and_names_a_class(table):
    for key, row in TABLES[table].items():
        assert key == row.key
        assert key.isalnum()
        assert key == key.lower()
        assert locate(row.path).__name__ == row.name


@pytest.mark.parametrize("key", ENCODERS)
def test_an_encoder_has_the_family_and_the_connection_of_its_class(key):
    row = ENCODERS[key]
    cls = locate(row.path)
    assert cls.connection.name == row.connection
    assert cls.family_type is locate(FAMILIES[row.family].path)


@pytest.mark.parametrize(
    ("room", "base", "table"),
    [(backbones, EncoderDecoder, ENCODERS), (backbones, BlockFamily, FAMILIES)],
)
def test_every_class_of_a_kind_that_the_package_offers_has_a_row(room, base, table):
    made = [cls for cls in vars(room).values() if isinstance(cls, type) and issubclass(cls, base)]
    whole = [cls for cls in made if not any(other is not cls and issubclass(other, cls) for other in made)]
    assert len(whole) > 3
    assert {cls.__name__ for cls in whole} <= {row.name for row in table.values()}


def test_every_architecture_has_a_row():
    helpers = {"Denoiser", "Pyramid", "Aligned", "SpatialTransformer"}
    assert set(architectures.__all__) - helpers <= {row.name for row in ARCHITECTURES.values()}


def test_pairs_are_what_backbones_can_serve():
    assert "sem_unet" in pairs()
    assert "vae_unet" not in pairs()
    assert serves("cnn", "vae")
    assert not serves("dnet", "ldm")
    assert len(set(pairs())) == len(pairs())
    assert set(pairs(shipped=True)) <= set(pairs())


def test_a_network_from_elsewhere_serves_and_ships_what_its_row_says(monkeypatch):
    row = Network("segnet", "x.SegNet", "a", "b", architectures=("sem", "ae"), shipped=("sem",))
    monkeypatch.setitem(registry.NETWORKS, "segnet", row)
    assert {pair for pair in pairs() if pair.endswith("segnet")} == {"sem_segnet", "ae_segnet"}
    assert [pair for pair in pairs(shipped=True) if pair.endswith("segnet")] == ["sem_segnet"]
    assert registry.reference("segnet") == "b"
    assert registry.reference("swin") == FAMILIES["swin"].reference


def test_reading_the_table_imports_no_torch():
    code = "import sys; import flemme_monai.registry; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
