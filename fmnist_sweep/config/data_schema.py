"""The `data` and `split` parts of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fmnist_sweep.config.model_schema import NonNegative, PositiveInt, Seed, Strict

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class FashionMnistData(Strict):
    """Fashion-MNIST; `limit` keeps that many training images, the same number of each class."""

    source: Literal["fashion_mnist"]
    dir: str | None
    limit: PositiveInt | None


class CsvData(Strict):
    """Kaggle's layout: `label,pixel1..pixel784`; the second file is the official test set."""

    source: Literal["csv"]
    train_file: str
    val_file: str | None
    image_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=3)]
    class_names: list[str] | None
    limit: PositiveInt | None


class NpzData(Strict):
    """A user's arrays `x_train`, `y_train` and, if present, `x_test`, `y_test`."""

    source: Literal["npz"]
    file: str
    class_names: list[str] | None
    limit: PositiveInt | None


class SyntheticData(Strict):
    """Ten synthetic garment shapes, generated in memory, for tests and demonstrations."""

    source: Literal["synthetic"]
    train_size: PositiveInt
    test_size: Annotated[int, Field(ge=0)]
    image_size: Annotated[int, Field(ge=8, le=128)]
    noise: NonNegative
    seed: Seed
    limit: PositiveInt | None


DataConfig = Annotated[
    FashionMnistData | CsvData | NpzData | SyntheticData, Field(discriminator="source")
]


class BalancedSplit(Strict):
    """Balanced validation and test sets drawn from the training images; the rest is for training.

    A size below 1 is a fraction of the training images.
    """

    scheme: Literal["balanced"]
    validation: PositiveInt | Fraction
    test: PositiveInt | Fraction
    seed: Seed


class WrapperSplit(Strict):
    """The split of the FashionMNISTCNN article: a balanced test set from the training images, the
    official test images for validation."""

    scheme: Literal["wrapper"]
    test: PositiveInt
    seed: Seed


class HeldOut(Strict):
    """The part of the training images used for validation."""

    fraction: Fraction
    take: Literal["first", "last"]


class OfficialSplit(Strict):
    """The split of most published results: the official test images are the test set."""

    scheme: Literal["official"]
    validation: HeldOut | None


SplitConfig = Annotated[BalancedSplit | WrapperSplit | OfficialSplit, Field(discriminator="scheme")]
