"""The FashionMNISTCNN article's class: a thin face on the builder and on Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_sweep.config.data_schema import FashionMnistData, WrapperSplit
from fmnist_sweep.config.shipped import shipped_config
from fmnist_sweep.data import FASHION_MNIST_CLASSES, load_dataset, make_split
from fmnist_sweep.errors import ConfigError, DataError, RunError, UserError
from fmnist_sweep.model.article import article_layers, article_net
from fmnist_sweep.model.builder import build_layers
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.turns import alone, in_turn_beside_none

CHECKPOINT_FOLDER = Path("models/keras_checkpoints")
_BRIGHTEST = 255
Images = NDArray[np.float32]
OneHot = NDArray[np.float32]


class RawData(NamedTuple):
    """Images as they come, uint8 (n, height, width, channels), and labels, int64 (n,)."""

    X_train: NDArray[np.uint8]
    Y_train: NDArray[np.int64]
    X_val: NDArray[np.uint8]
    Y_val: NDArray[np.int64]
    X_test: NDArray[np.uint8]
    Y_test: NDArray[np.int64]


class PreparedData(NamedTuple):
    """Images, float32 (n, height, width, channels) in 0..1, and labels, one-hot float32
    (n, classes)."""

    X_train: Images
    Y_train: OneHot
    X_val: Images
    Y_val: OneHot
    X_test: Images
    Y_test: OneHot


class FashionMNISTCNN:
    """A CNN for the ten classes of Fashion-MNIST, described as in the article.

    `conv_params` and `fc_params` are nested dicts of prefixed keys, as `model.article` says; None
    stands for the article's own layers; the last of `fc_params` is the output layer, of ten neurons
    with softmax. Attributes of those names hold the network in that form, `model` the Keras model.
    Weights follow from `keras.utils.set_random_seed`. Raises ConfigError for a key or value that is
    not allowed, InfeasibleModel where the image is too small for the blocks, UserError beside a
    sweep or training in another thread.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        conv_params: Mapping[str, Mapping[str, Any]] | None = None,
        fc_params: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.input_shape = _image_shape(input_shape)
        classes = len(FASHION_MNIST_CLASSES)
        config, self.conv_params, self.fc_params = article_net(conv_params, fc_params, classes)
        layers = article_layers(plan_cnn(config, self.input_shape, classes).layers)
        with in_turn_beside_none(type(self).__name__):
            self.model = build_layers(layers, self.input_shape, "fashionmnistcnn")

    def summary(self) -> None:
        """Print the layers, their shapes and parameters."""
        self.model.summary()

    def load_data(self) -> RawData:
        """Return Fashion-MNIST, divided as the article does: a balanced test set of the training
        images; the official test images validate.

        Raises DataError where the files are missing or altered.
        """
        data = FashionMnistData.model_validate(shipped_config("data", "fashion_mnist"))
        dataset = load_dataset(data)
        split = make_split(WrapperSplit.model_validate(shipped_config("split", "wrapper")), dataset)
        validation = split.validation_set(dataset)
        if validation is None:
            raise DataError(f"{dataset.name} has no official test images, which validate here")
        return RawData(*split.train_set(dataset), *validation, *split.test_set(dataset))

    def prepare_data(
        self,
        X_train: ArrayLike,  # noqa: N803 - the article's names, here and below
        Y_train: ArrayLike,  # noqa: N803
        X_val: ArrayLike,  # noqa: N803
        Y_val: ArrayLike,  # noqa: N803
        X_test: ArrayLike,  # noqa: N803
        Y_test: ArrayLike,  # noqa: N803
    ) -> PreparedData:
        """Scale images to 0..1 and shape them as the network takes them; make labels one-hot.

        Images: arrays or DataFrames of whole numbers 0..255, (n, height, width, channels) or
        flat rows (n, pixels); one channel may be left out. Labels: integers (n,) or (n, 1).
        Raises DataError, naming the argument, for anything else.
        """
        return PreparedData(
            *self._prepare("train", X_train, Y_train),
            *self._prepare("val", X_val, Y_val),
            *self._prepare("test", X_test, Y_test),
        )

    def compile(self) -> None:
        """Compile with Adam, categorical cross-entropy and accuracy."""
        self.model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])

    @alone("FashionMNISTCNN.fit")
    def fit(
        self,
        X_train: Images,  # noqa: N803
        Y_train: OneHot,  # noqa: N803
        X_val: Images,  # noqa: N803
        Y_val: OneHot,  # noqa: N803
        epochs: int = 5,
        batch_size: int = 50,
    ) -> keras.callbacks.History:
        """Train on prepared data; print the best validation accuracy; return Keras's history.

        The best epoch is kept in `models/keras_checkpoints/`, one file a fit.
        Raises UserError before `compile()`, for counts below 1, where the folder cannot be written
        to, and beside a sweep or training in another thread.
        """
        self._refuse_before_compile("fit")
        for name, count in (("epochs", epochs), ("batch_size", batch_size)):
            if count < 1:
                raise UserError(f"{name}={count}; allowed: 1 or more")
        best = _BestEpoch(CHECKPOINT_FOLDER, type(self).__name__)
        history = self.model.fit(
            X_train,
            Y_train,
            validation_data=(X_val, Y_val),
            epochs=epochs,
            batch_size=batch_size,
            callbacks=[best],
        )
        print(f"best_val_acc: {best.accuracy:.4f}")  # noqa: T201 - the article's fit reports so
        return history

    def evaluate(
        self,
        X: Images,  # noqa: N803
        Y: OneHot,  # noqa: N803
    ) -> tuple[float, float]:
        """Return (loss, accuracy) over prepared data. Raises UserError before `compile()`."""
        self._refuse_before_compile("evaluate")
        loss, accuracy = self.model.evaluate(X, Y)
        return loss, accuracy

    def predict(self, X: Images) -> NDArray[np.float32]:  # noqa: N803
        """Return class probabilities, float32 (n, 10), for prepared images."""
        probabilities: NDArray[np.float32] = self.model.predict(X)
        return probabilities

    def save(self, path: str | Path = "models/FashionMNISTCNN.keras") -> Path:
        """Write the model to a `.keras` file and return its path.

        Raises UserError for another ending and where the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".keras":
            raise UserError(f"path={path} does not end in .keras, the only format written")
        _make_folder(path.parent)
        _save_whole(self.model, path)
        return path

    def _prepare(self, which: str, images: ArrayLike, labels: ArrayLike) -> tuple[Images, OneHot]:
        scaled = _scaled_images(f"X_{which}", np.asarray(images), self.input_shape)
        one_hot = _one_hot(f"Y_{which}", np.asarray(labels), len(FASHION_MNIST_CLASSES))
        if len(scaled) != len(one_hot):
            raise DataError(
                f"X_{which} holds {len(scaled)} images and Y_{which} {len(one_hot)} labels; "
                "allowed: as many of one as of the other"
            )
        return scaled, one_hot

    def _refuse_before_compile(self, what: str) -> None:
        if not self.model.compiled:
            raise UserError(f"{what}() came before compile(); call compile() first")


class _BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Keeps one file: the model after the epoch of the best validation accuracy so far.

    Keras's own ModelCheckpoint leaves a file for each improvement where the name tells the epoch.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        _make_folder(folder)
        self.folder = folder
        self.name = name
        self.accuracy = -1.0
        self.file: Path | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        accuracy = (logs or {})["val_accuracy"]
        if accuracy <= self.accuracy:
            return
        file = self.folder / f"{self.name}-epoch-{epoch + 1:02d}-val_acc-{accuracy:.4f}.keras"
        _save_whole(self.model, file)
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        self.accuracy, self.file = accuracy, file


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}; allowed: a folder") from error


def _save_whole(model: keras.Model, path: Path) -> None:
    # Keras writes to nothing but a path that ends in .keras, so beside the file, then renamed.
    temporary = path.with_name(f".{path.name}")
    try:
        model.save(temporary)
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _image_shape(given: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(given)
    if len(sizes) != 3 or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise ConfigError(
            f"input_shape={given!r}; allowed: (height, width, channels), each 1 or more"
        )
    return sizes


def _scaled_images(name: str, images: NDArray[Any], shape: tuple[int, int, int]) -> Images:
    allowed = [shape, (prod(shape),)] + ([shape[:2]] if shape[2] == 1 else [])
    if images.shape[1:] not in allowed:
        forms = " or ".join(f"(n, {', '.join(map(str, form))})" for form in allowed)
        raise DataError(f"{name} has shape {images.shape}; allowed: {forms}")
    if images.dtype.kind not in "uif":
        raise DataError(f"{name} is of dtype {images.dtype}; allowed: whole numbers 0..255")
    if images.dtype != np.uint8:
        _refuse_other_than_pixels(name, images)
    return images.reshape(-1, *shape).astype(np.float32) / np.float32(_BRIGHTEST)


def _refuse_other_than_pixels(name: str, images: NDArray[Any]) -> None:
    # Written so that NaN is refused too; a fraction means images that were scaled already.
    strays = images[~((images >= 0) & (images <= _BRIGHTEST) & (images % 1 == 0))]
    if strays.size:
        raise DataError(f"{name} holds {strays[0]}; allowed: whole numbers 0..{_BRIGHTEST}")


def _one_hot(name: str, labels: NDArray[Any], classes: int) -> OneHot:
    one_column = labels.ndim > 0 and labels.shape[1:] in ((), (1,))
    if not one_column or labels.dtype.kind not in "ui":
        raise DataError(
            f"{name} has shape {labels.shape} and dtype {labels.dtype}; "
            "allowed: integers, (n,) or (n, 1)"
        )
    flat = labels.reshape(-1)
    strays = flat[(flat < 0) | (flat >= classes)]
    if strays.size:
        raise DataError(f"{name} holds the label {strays[0]}; allowed: 0..{classes - 1}")
    one_hot: OneHot = np.eye(classes, dtype=np.float32)[flat]
    return one_hot
