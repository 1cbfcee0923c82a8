"""NRRD and MetaImage files, with their voxels in the file or beside it."""

from __future__ import annotations

import gzip
from pathlib import Path

import itk
import numpy as np
import pytest

from flemme_monai.data.reading import read_array

VOLUME = (np.arange(60) - 5).reshape(3, 5, 4)  # (Z, Y, X)


def nrrd(path: Path, voxels: bytes, **fields: str) -> Path:
    fields = {"type": "short", "dimension": "3", "sizes": "4 5 3", "encoding": "raw", "endian": "little"} | fields
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items()]
    path.write_bytes("\n".join(["NRRD0004", *lines, "\n"]).encode() + voxels)
    return path


def metaimage(path: Path, voxels: bytes, **fields: str) -> Path:
    fields = {"ObjectType": "Image", "NDims": "3", "DimSize": "4 5 3", "ElementType": "MET_SHORT"} | fields
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")
    path.write_bytes("".join(f"{name} = {value}\n" for name, value in fields.items()).encode() + voxels)
    return path


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("int8", "i1"), ("uchar", "u1"), ("ushort", "u2"), ("int", "i4"), ("longlong", "i8"), ("double", "f8")],
)
def test_an_nrrd_has_every_number_that_it_stores(tmp_path: Path, kind: str, dtype: str) -> None:
    array = read_array(nrrd(tmp_path / "a.nrrd", VOLUME.astype(dtype).tobytes(), type=kind))[0]
    np.testing.assert_array_equal(array[0], VOLUME.astype(dtype).T)


@pytest.mark.parametrize(("kind", "dtype"), [("CHAR", "i1"), ("USHORT", "u2"), ("LONG", "i4"), ("LONG_LONG", "i8")])
def test_a_metaimage_has_every_number_that_it_stores(tmp_path: Path, kind: str, dtype: str) -> None:
    path = metaimage(tmp_path / "a.mha", VOLUME.astype(dtype).tobytes(), ElementType=f"MET_{kind}")
    np.testing.assert_array_equal(read_array(path)[0][0], VOLUME.astype(dtype).T)


@pytest.mark.parametrize("kind", ["uchar", "ushort", "float"])
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_channels_come_first(tmp_path: Path, name: str, kind: str) -> None:
    dtype = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}[kind]
    voxels = np.random.default_rng(0).integers(0, 255, (3, 5, 4, 2)).astype(dtype)
    if name == "a.nrrd":
        kinds = "vector domain domain domain"
        nrrd(tmp_path / name, voxels.tobytes(), type=kind, dimension="4", sizes="2 4 5 3", kinds=kinds)
    else:
        metaimage(tmp_path / name, voxels.tobytes(), ElementType=f"MET_{kind.upper()}", ElementNumberOfChannels="2")
    np.testing.assert_array_equal(read_array(tmp_path / name)[0], voxels.transpose(3, 2, 1, 0))


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_of_itk_are_read(tmp_path: Path, name: str, compressed: bool) -> None:
    image = itk.image_from_array(VOLUME.astype(np.int16))
    image.SetSpacing([1.0, 2.0, 3.0])
    itk.imwrite(image, str(tmp_path / name), compression=compressed)
    array, affine = read_array(tmp_path / name)
    np.testing.assert_array_equal(array[0], VOLUME.T)
    np.testing.assert_allclose(affine, np.diag([-1.0, -2, 3, 1]))


def test_voxels_beside_an_nrrd_are_read(tmp_path: Path) -> None:
    voxels = VOLUME.astype("<i2").tobytes()
    (tmp_path / "a.raw").write_bytes(voxels)
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(voxels))
    for source, encoding in (("a.raw", "raw"), ("a.raw.gz", "gzip")):
        path = nrrd(tmp_path / "a.nrrd", b"", data_file=source, encoding=encoding)
        np.testing.assert_array_equal(read_array(path)[0][0], VOLUME.T)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data_file": "LIST\na.raw"}, "has its voxels in several files"),
        ({"data_file": "a%d.raw 1 3 1"}, "has its voxels in several files"),
        ({"data_file": "gone.raw"}, "lacks the file of its voxels, .*gone.raw"),
        ({"data_file": "/dev/zero"}, "lacks the file of its voxels"),
        ({"type": "block"}, "has voxels of type 'block'"),
        ({"encoding": "bzip2"}, "has the encoding 'bzip2'"),
        ({"sizes": "4 5"}, "has dimension 3 and 2 numbers in sizes"),
        ({"sizes": "4 5 -3"}, "has sizes '4 5 -3'"),
        (
            {"space": "left-posterior-superior", "space_directions": "(1,0,0) (2,0,0) (0,0,1)"},
            "degenerate|cannot be read",
        ),
        ({"dimension": "4", "sizes": "2 4 5 3", "type": "float", "kinds": "complex domain domain domain"}, "complex"),
    ],
)
def test_an_nrrd_that_is_not_read_is_named(tmp_path: Path, fields: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.nrrd: .*({words})") as error:
        read_array(nrrd(tmp_path / "a.nrrd", bytes(480), **fields))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ElementDataFile": "LIST"}, "has its voxels in several files"),
        ({"ElementDataFile": "a%03d.raw 1 3 1"}, "has its voxels in several files"),
        ({"ElementDataFile": "gone.raw"}, "lacks the file of its voxels, .*gone.raw"),
        ({"ElementType": "MET_STRING"}, "has voxels of type 'MET_STRING'"),
        ({"NDims": "2"}, "has NDims 2 and 3 numbers in DimSize"),
        ({"ElementNumberOfChannels": "-1"}, "has ElementNumberOfChannels '-1'"),
        ({"ElementSpacing": "1 0 1"}, "degenerate|cannot be read"),
    ],
)
def test_a_metaimage_that_is_not_read_is_named(tmp_path: Path, fields: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.mha: .*({words})") as error:
        read_array(metaimage(tmp_path / "a.mha", bytes(120), **fields))
    assert "\n" not in str(error.value)
