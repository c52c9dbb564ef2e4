from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray
from tiny_training import through_disk

from fmnist_sweep.errors import RunError
from fmnist_sweep.training.checkpoint import Checkpoint, weights_digest
from fmnist_sweep.training.results import EpochRecord

in_one_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
dtypes = st.sampled_from(
    [np.float32, np.float16, np.float64, np.int64, np.uint32, np.bool_, ml_dtypes.bfloat16]
)


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=3, max_side=3, min_side=0))
    values = np.random.RandomState(draw(st.integers(0, 999))).standard_normal(shape)
    return np.asarray(values).astype(draw(dtypes))


parts = st.lists(arrays(), max_size=12).map(tuple)
metrics = st.dictionaries(
    st.sampled_from(["loss", "val_loss", "accuracy"]),
    st.floats(allow_nan=False, allow_infinity=False),
)
histories = st.lists(
    st.builds(
        EpochRecord,
        epoch=st.integers(1, 99),
        metrics=metrics,
        ended_at=st.floats(0, 2e9),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
checkpoints = st.builds(
    Checkpoint, weights=parts, optimizer=parts, best_weights=parts, history=histories
)


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.history == other.history
    for part in ("weights", "optimizer", "best_weights"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert [(a.dtype, a.shape) for a in ours] == [(a.dtype, a.shape) for a in theirs]
        assert [a.tobytes() for a in ours] == [a.tobytes() for a in theirs]


@given(checkpoint=checkpoints)
@in_one_folder
def test_disk_keeps_every_bit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    loaded = through_disk(checkpoint, tmp_path)

    assert_same(loaded, checkpoint)
    assert loaded.epoch == checkpoint.history[-1].epoch
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


SMALL = Checkpoint(
    weights=(np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3, np.int64)),
    optimizer=(np.ones(2, np.float32),),
    best_weights=(np.zeros((2, 3), np.float32), np.array(1, np.int64)),
    history=(EpochRecord(1, {"loss": 0.1}, ended_at=3.0),),
)


def read_or_refuse(path: Path) -> Checkpoint | None:
    try:
        return Checkpoint.load(path)
    except RunError as error:
        if not str(error).startswith(f"checkpoint {path} cannot be read: "):
            raise
        return None


@given(data=st.data())
@examples(400)
def test_a_file_with_a_changed_byte_is_the_same_or_refused(
    data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.npz"
    SMALL.save(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    loaded = read_or_refuse(path)

    if loaded is not None:
        assert_same(loaded, SMALL)


@given(kept=st.floats(0, 1, exclude_max=True))
@in_one_folder
def test_a_file_that_was_cut_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    SMALL.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])

    assert read_or_refuse(path) is None


@given(content=st.binary(max_size=200))
@in_one_folder
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)

    assert read_or_refuse(path) is None


def test_files_of_other_kinds_and_none_at_all_are_refused(tmp_path: Path) -> None:
    array, table, folder = tmp_path / "a.npy", tmp_path / "b.npz", tmp_path / "folder"
    np.save(array, np.zeros(3))
    np.savez(table, other=np.zeros(3))
    folder.mkdir()

    for path in (array, table, folder, tmp_path / "missing.npz"):
        assert read_or_refuse(path) is None


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    SMALL.save(path)
    unwritable = Checkpoint(
        weights=(*SMALL.weights, np.array([object()])),
        optimizer=(),
        best_weights=(),
        history=SMALL.history,
    )

    with pytest.raises(ValueError, match="Object arrays"):
        unwritable.save(path)

    assert_same(Checkpoint.load(path), SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]


@given(weights=st.lists(arrays(), min_size=1, max_size=4), data=st.data())
def test_a_digest_sees_dtype_shape_order_and_each_bit(
    weights: list[NDArray[Any]], data: st.DataObject
) -> None:
    digest = weights_digest(weights)
    assert digest == weights_digest([array.copy() for array in weights])
    assert digest == weights_digest([np.array(array, order="F") for array in weights])
    number = data.draw(st.integers(0, len(weights) - 1))

    def with_other(other: NDArray[Any]) -> str:
        return weights_digest([*weights[:number], other, *weights[number + 1 :]])

    array = weights[number]
    assert with_other(array[np.newaxis]) != digest
    other_dtype = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.complex64}[array.itemsize]
    assert with_other(array.view(other_dtype)) != digest
    if array.size:
        flipped = bytearray(array.tobytes())
        flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert with_other(np.frombuffer(flipped, array.dtype).reshape(array.shape)) != digest
    moved = [*weights[1:], weights[0]]
    same = all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(moved, weights, strict=True)
    )
    assert (weights_digest(moved) == digest) == same


def test_kinds_of_a_byte_that_numpy_lacks_are_told_apart() -> None:
    kinds = (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3b11fnuz, np.uint8)

    assert len({weights_digest([np.zeros(2, kind)]) for kind in kinds}) == 3
