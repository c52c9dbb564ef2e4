"""The `data` and `split` parts of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fmnist_sweep.config.model_schema import NonNegative, PositiveInt, Seed, Strict

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Fit = Literal["predict", "stretch", "crop", "pad"]
"""How a picture is brought to `image_size`; `predict`: as the side command does it."""
ImageSize = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
PixelMax = Literal[1, 255]
ArrayName = Literal["x_train", "y_train", "x_val", "y_val", "x_test", "y_test"]


class FashionMnistData(Strict):
    """Fashion-MNIST; `limit` keeps that many training images, the same number of each class."""

    source: Literal["fashion_mnist"]
    dir: str | None
    limit: PositiveInt | None


class CsvData(Strict):
    """A row per image, with a label and a column for each pixel, as in Kaggle's
    `label,pixel1..pixel784` and its relatives; the second file is the official test set."""

    source: Literal["csv"]
    train_file: str
    val_file: str | None
    image_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=3)]
    class_names: list[str] | None
    label: str | int | None
    transposed: bool
    close_gaps: bool
    pixel_max: PixelMax | None
    limit: PositiveInt | None


class NpzData(Strict):
    """A user's arrays `x_train`, `y_train` and, if present, `x_val`, `y_val`, `x_test`, `y_test`;
    `arrays` says what they are called, `files` in which file each is."""

    source: Literal["npz"]
    file: str | None
    files: dict[ArrayName, str] | None
    arrays: dict[ArrayName, str] | None
    class_names: list[str] | None
    channels_first: bool | None
    close_gaps: bool
    pixel_max: PixelMax | None
    limit: PositiveInt | None


class FolderData(Strict):
    """Pictures in a folder: a subfolder for each class, below `train/`, `val/` and `test/` if there
    are such."""

    source: Literal["folder"]
    dir: str
    image_size: ImageSize
    channels: Literal[1, 3]
    fit: Fit
    skip_damaged: bool
    limit: PositiveInt | None


class ParquetData(Strict):
    """Pictures in the column `image` of Parquet files, as Hugging Face's data sets have them."""

    source: Literal["parquet"]
    file: str
    image: str | None
    label: str | None
    class_names: list[str] | None
    image_size: ImageSize
    channels: Literal[1, 3]
    fit: Fit
    skip_damaged: bool
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
    FashionMnistData | CsvData | NpzData | FolderData | ParquetData | SyntheticData,
    Field(discriminator="source"),
]


class BalancedSplit(Strict):
    """Balanced validation and test sets drawn from the training images; the rest is for training.

    A size below 1 is a fraction of the training images.
    """

    scheme: Literal["balanced"]
    validation: PositiveInt | Fraction
    test: PositiveInt | Fraction
    seed: Seed


class StratifiedSplit(Strict):
    """Validation and test sets drawn from the training images, in which each class has its share,
    and at least one image; the rest is for training.

    A size below 1 is a fraction of the training images.
    """

    scheme: Literal["stratified"]
    validation: PositiveInt | Fraction
    test: PositiveInt | Fraction
    seed: Seed


class KfoldSplit(Strict):
    """Stratified cross-validation: `repeats` times, the images outside the test set are divided
    into `folds` parts, each of which validates once while the others train.

    A test size below 1 is a fraction of the training images.
    """

    scheme: Literal["kfold"]
    folds: Annotated[int, Field(ge=2)]
    repeats: PositiveInt
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


SplitConfig = Annotated[
    BalancedSplit | StratifiedSplit | KfoldSplit | WrapperSplit | OfficialSplit,
    Field(discriminator="scheme"),
]
