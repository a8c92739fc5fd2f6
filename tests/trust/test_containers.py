"""The files around Keras models: HDF5 that reaches into other files, archives that grow or climb out."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tflite_rnn as rnn
from tests.trust.canaries import Canary
from tests.trust.keras_files import (
    KERAS2,
    KERAS3,
    Json,
    h5_file,
    keras3_object,
    keras_archive,
    sequential2,
    sequential3,
)
from tests.trust.refusals import Hostility

pytestmark = pytest.mark.tensorflow

Spoil = Callable[[Any, Canary], None]


# --- HDF5 ------------------------------------------------------------------------------------------------------


def external_link(file: Any, canary: Canary) -> None:
    del file[DENSE]
    file[DENSE] = h5py.ExternalLink(str(canary.secret), "/")


def linked_weights(file: Any, canary: Canary) -> None:
    del file[WEIGHTS]
    file[WEIGHTS] = h5py.ExternalLink(str(canary.secret), "/weights")


def soft_link(file: Any, canary: Canary) -> None:
    file["through"] = h5py.ExternalLink(str(canary.secret), "/")
    file["along"] = h5py.SoftLink("/through/dense")


def external_storage(file: Any, canary: Canary) -> None:
    """The kernel is the secret: its bytes end up in what is converted."""
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 2), "f4", external=[(str(canary.secret), 0, 24)])


def virtual_dataset(file: Any, canary: Canary) -> None:
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(canary.secret), "data", (3, 2))
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def enormous_dataset(file: Any, canary: Canary) -> None:
    file.create_dataset("enormous", (10**6, 10**6), "f4", chunks=(100, 100))


def foreign_filter(file: Any, canary: Canary) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((4,))
    creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(file.id, b"filtered", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), creation)


def weighty_file(path: Path, version: str) -> Path:
    """An HDF5 file of a dense layer with its weights."""
    h5_file(path, DENSE2 if version == KERAS2 else DENSE3, version=version)
    with h5py.File(path, "r+") as file:
        file[WEIGHTS].attrs["layer_names"] = np.array([b"dense"])
        layer = file.create_group(DENSE)
        layer.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        file[KERNEL] = np.ones((3, 2), "f4")
        file[f"{DENSE}/dense/bias:0"] = np.ones(2, "f4")
    return path


WEIGHTS = "model_weights"
DENSE = f"{WEIGHTS}/dense"
KERNEL = f"{DENSE}/dense/kernel:0"

SPOILED: list[tuple[Spoil, str]] = [
    (external_link, "link to another place"),
    (linked_weights, "link to another place"),
    (soft_link, "link to another place"),
    (external_storage, "data in another file"),
    (virtual_dataset, "virtual dataset"),
    (enormous_dataset, "would grow to"),
    (foreign_filter, "compressed by a filter"),
]

DENSE2 = sequential2({"class_name": "Dense", "config": {"name": "dense", "units": 2}})
DENSE3 = sequential3(keras3_object("keras.layers", "Dense", {"name": "dense", "units": 2}))

spoiled = pytest.mark.parametrize(("spoil", "words"), SPOILED, ids=[spoil.__name__ for spoil, _ in SPOILED])


@spoiled
@pytest.mark.parametrize("version", [KERAS2, KERAS3])
def test_an_hdf5_file_that_reaches_outside_is_refused(
    spoil: Spoil, words: str, version: str, tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    path = weighty_file(tmp_path / "hostile.h5", version)
    with h5py.File(path, "r+") as file:
        spoil(file, canary)
    hostility.assert_refused(path, words)


@pytest.mark.parametrize("version", [KERAS2, KERAS3])
def test_the_same_file_unspoiled_converts(version: str, tmp_path: Path) -> None:
    converted = rnn.convert(weighty_file(tmp_path / "whole.h5", version))
    assert converted.report.op_counts["FULLY_CONNECTED"] == 1


@spoiled
def test_weights_in_an_archive_that_reach_outside_are_refused(
    spoil: Spoil, words: str, tmp_path: Path, canary: Canary, hostility: Hostility
) -> None:
    weights = weighty_file(tmp_path / "model.weights.h5", KERAS3)
    with h5py.File(weights, "r+") as file:
        spoil(file, canary)
    hostility.assert_refused(
        keras_archive(tmp_path / "hostile.keras", DENSE3, weights=weights.read_bytes()), words
    )


# --- archives --------------------------------------------------------------------------------------------------


def spoiled_archive(path: Path, add: Callable[[zipfile.ZipFile], None], *, drop: str = "") -> Path:
    """A whole archive with something added, and one of its entries left out."""
    whole = keras_archive(path.with_name("whole.keras"), DENSE3)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name != drop:
                target.writestr(name, source.read(name))
        add(target)
    return path


def add_climbing(archive: zipfile.ZipFile) -> None:
    archive.writestr("assets/../../climbed", "written")


def add_absolute(archive: zipfile.ZipFile) -> None:
    archive.writestr("/tmp/absolute", "written")


def add_link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("assets/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def add_pickle(archive: zipfile.ZipFile) -> None:
    archive.writestr("model.weights.npz", b"not Keras' own")


def add_many(archive: zipfile.ZipFile) -> None:
    for number in range(10_001):
        archive.writestr(f"assets/{number}", b"")


@pytest.mark.parametrize("add", [add_climbing, add_absolute, add_link, add_pickle, add_many])
def test_an_archive_with_other_entries_is_refused(
    add: Callable[[zipfile.ZipFile], None], tmp_path: Path, hostility: Hostility
) -> None:
    path = spoiled_archive(tmp_path / "hostile.keras", add)
    hostility.assert_refused(path, "the archive ")
    assert not (tmp_path / "climbed").exists()


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_bomb_is_refused_before_it_is_inflated(name: str, tmp_path: Path, hostility: Hostility) -> None:
    def add(archive: zipfile.ZipFile) -> None:
        with archive.open(name, "w", force_zip64=True) as bomb:
            for _ in range(200):
                bomb.write(b" " * (1 << 20))

    path = spoiled_archive(tmp_path / "bomb.keras", add, drop=name)
    assert path.stat().st_size < 1 << 20
    hostility.assert_refused(path, "would grow to")


def test_an_archive_with_two_configurations_is_refused(tmp_path: Path, hostility: Hostility) -> None:
    def add(archive: zipfile.ZipFile) -> None:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("config.json", "{}")

    hostility.assert_refused(spoiled_archive(tmp_path / "hostile.keras", add), "two entries")


@pytest.mark.parametrize("write", [h5_file, keras_archive])
def test_a_configuration_that_is_nested_without_end_is_refused(
    write: Callable[[Path, Json], Path], tmp_path: Path
) -> None:
    suffix = ".h5" if write is h5_file else ".keras"
    for depth in (300, 20_000):
        config = '{"class_name": "Sequential", "config": ' + "[" * depth + "]" * depth + "}"
        with pytest.raises(rnn.SourceError, match="nested"):
            rnn.convert(write(tmp_path / f"deep{suffix}", config))


def test_checks_let_whole_files_pass(tmp_path: Path) -> None:
    """The negative twin: what Keras writes itself, compressed weights and all."""
    from converter.importers.archive_check import check_archive
    from converter.importers.hdf5_check import check_hdf5

    path = weighty_file(tmp_path / "whole.h5", KERAS2)
    with h5py.File(path, "r+") as file:
        group = file[DENSE]
        group.create_dataset("zeros", data=np.zeros((3000, 3000), "f4"), compression="gzip", shuffle=True)
        group["itself"] = file[WEIGHTS]
        group["nothing"] = h5py.Empty("f4")
    check_hdf5(path, "whole.h5")
    check_hdf5(io.BytesIO(path.read_bytes()), "whole.h5")
    check_archive(keras_archive(tmp_path / "whole.keras", DENSE3, weights=path.read_bytes()))
