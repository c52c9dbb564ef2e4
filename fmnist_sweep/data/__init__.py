"""Images and labels, and the index arrays that split them."""

from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES, Dataset
from fmnist_sweep.data.loading import load_dataset
from fmnist_sweep.data.split import Split, balanced_test_split, make_split

__all__ = [
    "FASHION_MNIST_CLASSES",
    "Dataset",
    "Split",
    "balanced_test_split",
    "load_dataset",
    "make_split",
]
