from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from fmnist_sweep.config.model_schema import ModelConfig
from fmnist_sweep.config.shipped import shipped_config
from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES
from fmnist_sweep.errors import ConfigError, DataError, InfeasibleModel, UserError
from fmnist_sweep.model.builder import build_cnn
from fmnist_sweep.model.wrapper import FashionMNISTCNN

IMAGE = (28, 28, 1)
SMALL_CONV = {"conv0": {"conv0_channels": 4, "conv0_pool": 4}}
ONLY_OUTPUT: dict[str, dict[str, Any]] = {"fc0": {"fc0_neurons": 10, "fc0_activation": "softmax"}}
LAST: dict[str, dict[str, Any]] = {"fc1": {"fc1_neurons": 10, "fc1_activation": "softmax"}}
SMALL_FC: dict[str, dict[str, Any]] = {"fc0": {"fc0_neurons": 8}, **LAST}
ARTICLE_FC: dict[str, dict[str, Any]] = {
    "fc0": {"fc0_neurons": 512, "fc0_activation": "relu"},
    "fc1": {"fc1_neurons": 256, "fc1_activation": "relu"},
    "fc2": {"fc2_neurons": 10, "fc2_activation": "softmax"},
}
# The article's summary: layer class, output shape, parameters.
SUMMARY = [
    ("ZeroPadding2D", (30, 30, 1), 0),
    ("Conv2D", (28, 28, 32), 320),
    ("BatchNormalization", (28, 28, 32), 128),
    ("Activation", (28, 28, 32), 0),
    ("Identity", (28, 28, 32), 0),  # the article's pool of size 1
    ("ZeroPadding2D", (30, 30, 32), 0),
    ("Conv2D", (28, 28, 64), 18496),
    ("BatchNormalization", (28, 28, 64), 256),
    ("Activation", (28, 28, 64), 0),
    ("MaxPooling2D", (14, 14, 64), 0),
    ("ZeroPadding2D", (16, 16, 64), 0),
    ("Conv2D", (14, 14, 128), 73856),
    ("BatchNormalization", (14, 14, 128), 512),
    ("Activation", (14, 14, 128), 0),
    ("MaxPooling2D", (7, 7, 128), 0),
    ("Flatten", (6272,), 0),
    ("BatchNormalization", (6272,), 25088),
    ("Dropout", (6272,), 0),
    ("Dense", (512,), 3211776),
    ("BatchNormalization", (512,), 2048),
    ("Dropout", (512,), 0),
    ("Dense", (256,), 131328),
    ("BatchNormalization", (256,), 1024),
    ("Dropout", (256,), 0),
    ("Dense", (10,), 2570),
]
NAMES = [
    *(f"conv{block}{part}" for block in range(3) for part in ("_pad", "", "_bn", "_act", "_pool")),
    "flatten",
    *(f"fc{layer}{part}" for layer in range(3) for part in ("_bn", "_drop", "_act")),
]


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_raw(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, *IMAGE), dtype=np.uint8), np.arange(n) % 10


def small(compiled: bool = True) -> FashionMNISTCNN:
    keras.utils.set_random_seed(0)
    network = FashionMNISTCNN(IMAGE, SMALL_CONV, SMALL_FC)
    if compiled:
        network.compile()
    return network


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize("fc_params", [None, ARTICLE_FC])
def test_default_network_is_the_articles_layer_by_layer(fc_params: Any) -> None:
    model = FashionMNISTCNN(IMAGE, None, fc_params).model
    layers = model.layers[1:]

    assert isinstance(model.layers[0], keras.layers.InputLayer)
    assert [
        (type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in layers
    ] == SUMMARY
    assert [layer.name for layer in layers] == NAMES
    assert model.name == "fashionmnistcnn"
    activations = [keras.activations.relu, keras.activations.relu, keras.activations.softmax]
    assert [model.get_layer(f"fc{layer}_act").activation for layer in range(3)] == activations
    assert model.count_params() == 3_467_402
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 3_452_874


@pytest.mark.release
def test_the_article_s_form_changes_no_number(in_empty_folder: Path) -> None:
    """The network of the shipped config differs in the names of its layers alone."""
    images = np.random.default_rng(0).random((20, *IMAGE), np.float32)
    one_hot = np.eye(10, dtype=np.float32)[np.arange(20) % 10]
    shipped = ModelConfig.model_validate(shipped_config("model", "fashion_mnist_cnn"))

    def trained(build: Callable[[], keras.Model]) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        model = build()
        model.compile("adam", loss="categorical_crossentropy")
        model.fit(images, one_hot, batch_size=10, epochs=1, verbose=0)
        return [*model.get_weights(), model.predict(images, verbose=0)]

    ours = trained(lambda: build_cnn(shipped, IMAGE, 10))
    articles = trained(lambda: FashionMNISTCNN(IMAGE).model)

    for mine, theirs in zip(ours, articles, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_probabilities_are_float32_in_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = FashionMNISTCNN(IMAGE, SMALL_CONV, SMALL_FC)
    finally:
        keras.config.set_dtype_policy("float32")

    probabilities = network.predict(np.random.default_rng(0).random((4, *IMAGE), np.float32))
    assert network.model.get_layer("fc0_act").compute_dtype == "bfloat16"
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_summary_prints_the_articles_totals(capsys: pytest.CaptureFixture[str]) -> None:
    FashionMNISTCNN(IMAGE).summary()

    printed = capsys.readouterr().out
    assert "3,467,402" in printed
    assert "3,452,874" in printed
    assert "conv0_pad" in printed


def test_default_params_are_in_the_articles_form() -> None:
    network = FashionMNISTCNN(IMAGE)

    assert network.conv_params["conv0"] == {
        "conv0_pad": 1,
        "conv0_channels": 32,
        "conv0_filter": 3,
        "conv0_stride": 1,
        "conv0_pool": 1,
        "conv0_activation": "relu",
    }
    assert [
        (block[f"{name}_channels"], block[f"{name}_pool"])
        for name, block in network.conv_params.items()
    ] == [(32, 1), (64, 2), (128, 2)]
    assert network.fc_params == ARTICLE_FC


def test_every_key_reaches_its_layer() -> None:
    conv = {
        "conv0": {
            "conv0_pad": 2,
            "conv0_channels": 6,
            "conv0_filter": (5, 3),
            "conv0_stride": 2,
            "conv0_pool": 3,
            "conv0_activation": "elu",
            "conv0_batch_norm": False,
            "conv0_dropout": 0.25,
        }
    }
    fc = {
        "fc0": {"fc0_neurons": 7, "fc0_activation": "tanh", "fc0_dropout": 0.5},
        "fc1": {
            "fc1_neurons": 10,
            "fc1_activation": "softmax",
            "fc1_batch_norm": False,
            "fc1_dropout": 0.125,
        },
    }

    network = FashionMNISTCNN(IMAGE, conv, fc)

    layers = {layer.name: layer for layer in network.model.layers}
    assert layers["conv0_pad"].padding == ((2, 2), (2, 2))
    assert layers["conv0"].filters == 6
    assert layers["conv0"].kernel_size == (5, 3)
    assert layers["conv0"].strides == (2, 2)
    assert layers["conv0_pool"].pool_size == (3, 3)
    assert layers["conv0_act"].activation is keras.activations.elu
    assert "conv0_bn" not in layers
    assert layers["conv0_drop"].rate == 0.25
    assert layers["fc0_act"].units == 7
    assert layers["fc0_act"].activation is keras.activations.tanh
    assert layers["fc0_drop"].rate == 0.5
    assert layers["fc1_act"].units == 10
    assert "fc1_bn" not in layers
    assert layers["fc1_drop"].rate == 0.125
    assert network.conv_params == conv
    assert network.fc_params == fc


def test_params_of_a_network_make_the_same_network_again() -> None:
    first = FashionMNISTCNN(IMAGE, {"conv0": {"conv0_pool": 7, "conv0_pad": "same"}}, SMALL_FC)

    again = FashionMNISTCNN(IMAGE, first.conv_params, first.fc_params)

    assert again.model.get_config() == first.model.get_config()
    assert again.conv_params == first.conv_params


def test_blocks_follow_their_numbers_not_their_order_in_the_dict() -> None:
    network = FashionMNISTCNN(
        IMAGE, {"conv1": {"conv1_channels": 2}, "conv0": {"conv0_channels": 3}}, ONLY_OUTPUT
    )

    assert network.model.get_layer("conv0").filters == 3
    assert network.model.get_layer("conv1").filters == 2
    assert list(network.conv_params) == ["conv0", "conv1"]


def test_params_may_hold_numpy_numbers_as_random_choices_give_them() -> None:
    size = np.int64(5)

    network = FashionMNISTCNN(
        IMAGE,
        {"conv0": {"conv0_channels": size, "conv0_filter": (size, size)}},
        {"fc0": {"fc0_neurons": np.int64(10), "fc0_activation": "softmax"}},
    )

    assert network.model.get_layer("conv0").kernel.shape == (5, 5, 1, 5)


def test_empty_conv_params_mean_no_blocks() -> None:
    network = FashionMNISTCNN(IMAGE, {}, ONLY_OUTPUT)

    names = [layer.name for layer in network.model.layers[1:]]
    assert names == ["flatten", "fc0_bn", "fc0_drop", "fc0_act"]
    assert network.conv_params == {}
    assert network.fc_params == ONLY_OUTPUT


@pytest.mark.parametrize(
    ("fc", "name"),
    [
        ({}, "fc0"),
        ({"fc0": {}}, "fc0"),
        ({"fc0": {"fc0_neurons": 512}, "fc1": {"fc1_neurons": 256}}, "fc1"),
        ({"fc0": {"fc0_neurons": 9, "fc0_activation": "softmax"}}, "fc0"),
        ({"fc0": {"fc0_neurons": 10, "fc0_activation": "relu"}}, "fc0"),
        ({"fc0": {"fc0_activation": "softmax"}}, "fc0"),
        ({**ARTICLE_FC, "fc3": {"fc3_neurons": 64, "fc3_activation": "relu"}}, "fc3"),
    ],
)
def test_params_without_the_output_layer_are_refused_with_the_article_s_form(
    fc: Any, name: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        FashionMNISTCNN(IMAGE, None, fc)

    assert str(refusal.value) == (
        f"fc_params does not end with the output layer; the last one has to be '{name}': "
        f"{{'{name}_neurons': 10, '{name}_activation': 'softmax'}}, as many neurons as there are "
        "classes"
    )


@pytest.mark.parametrize(
    ("conv", "fc", "message"),
    [
        ({"conv0": {"conv0_chanels": 3}}, None, "did you mean conv0_channels?"),
        ({"conv0": {"conv0_filters": 3}}, None, "did you mean conv0_channels?"),
        ({"conv0": {"conv0_kernel_size": 3}}, None, "did you mean conv0_filter?"),
        ({"conv0": {"channels": 3}}, None, "no key channels; did you mean conv0_channels?"),
        ({"conv0": {"conv1_channels": 3}}, None, "no key conv1_channels; did you mean conv0_ch"),
        ({"conv0": {"conv0_zebra": 3}}, None, "no key conv0_zebra; allowed: conv0_channels, "),
        (None, {"fc0": {"fc0_units": 3}}, "did you mean fc0_neurons?"),
        ({"conv1": {}}, None, "conv_params has the key 'conv1'; allowed for 1 of them: conv0"),
        ({"block": {}}, None, "conv_params has the key 'block'"),
        ({"conv0": {"conv0_channels": 0}}, None, "conv0_channels=0: must be at least 1"),
        ({"conv0": {"conv0_channels": "8"}}, None, "conv0_channels='8': must be"),
        ({"conv0": {"conv0_filter": (3, 3, 3)}}, None, "conv0_filter=[3, 3, 3]: must be"),
        ({"conv0": {"conv0_weight_init": "glorot"}}, None, "conv0_weight_init"),
        (None, {"fc0": {"fc0_activation": "rellu"}, **LAST}, "fc0_activation=rellu: must be"),
        (None, {"fc0": {}, "fc1": {**LAST["fc1"], "fc1_dropout": 1.5}}, "fc1_dropout=1.5: must be"),
        (
            None,
            {"fc0": {}, "fc1": {**LAST["fc1"], "fc1_bias": True}},
            "no key fc1_bias; did you mean fc1_b",
        ),
        ([32, 64], None, "conv_params is [32, 64]; allowed: a dict"),
        ({"conv0": 32}, None, "conv_params['conv0'] is 32; allowed: a dict"),
    ],
)
def test_bad_params_are_refused_in_one_line(conv: Any, fc: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        FashionMNISTCNN(IMAGE, conv, fc)

    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(28, 28), (28, 0, 1), (28, 28, 1, 1), (28.0, 28, 1)])
def test_bad_input_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(ConfigError, match=r"input_shape=.*; allowed: \(height, width, channels\)"):
        FashionMNISTCNN(shape)


def test_image_too_small_for_the_blocks_is_refused() -> None:
    with pytest.raises(InfeasibleModel, match=r"conv block 2: pool 2x2 would shrink 1x1"):
        FashionMNISTCNN((3, 3, 1))


# --- data -------------------------------------------------------------------------------------


def test_load_data_is_the_articles_split() -> None:
    x_train, y_train, x_val, y_val, x_test, y_test = small(compiled=False).load_data()

    assert [x.shape for x in (x_train, x_val, x_test)] == [(50000, *IMAGE)] + 2 * [(10000, *IMAGE)]
    assert [x.dtype for x in (x_train, x_val, x_test)] == 3 * [np.dtype(np.uint8)]
    assert [np.bincount(y).tolist() for y in (y_train, y_val, y_test)] == [
        [5000] * 10,
        [1000] * 10,
        [1000] * 10,
    ]


def test_prepared_data_are_scaled_shaped_and_one_hot() -> None:
    images, labels = random_raw()

    prepared = small(compiled=False).prepare_data(
        images, labels, images[:20], labels[:20], images[:10], labels[:10]
    )

    x_train, y_train, x_val, y_val, x_test, y_test = prepared
    assert [x.shape for x in (x_train, x_val, x_test)] == [(n, *IMAGE) for n in (40, 20, 10)]
    assert [y.shape for y in (y_train, y_val, y_test)] == [(n, 10) for n in (40, 20, 10)]
    assert {part.dtype for part in prepared} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.rint(x_train * 255), images)
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(y_train.argmax(axis=1), labels)
    np.testing.assert_array_equal(y_train.sum(axis=1), 1.0)


def test_every_form_of_the_same_data_is_prepared_alike() -> None:
    images, labels = random_raw()
    rows = images.reshape(40, 784)
    columns = [f"pixel{number}" for number in range(1, 785)]
    forms = [
        (images, labels),
        (images[..., 0], labels[:, np.newaxis]),
        (rows, labels.tolist()),
        (pd.DataFrame(rows, columns=columns), pd.Series(labels)),
        (pd.DataFrame(rows.astype(np.int64)), pd.DataFrame({"label": labels})),
        (rows.astype(np.float64), labels.astype(np.uint8)),
    ]
    network = small(compiled=False)

    prepared = [network.prepare_data(*form * 3)[:2] for form in forms]

    for pictures, one_hot in prepared[1:]:
        np.testing.assert_array_equal(pictures, prepared[0][0])
        np.testing.assert_array_equal(one_hot, prepared[0][1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:, :27], y), r"X_val has shape \(40, 27, 28, 1\); allowed: \(n, 28, 28"),
        (lambda x, y: (x / 255, y), r"X_val holds 0\.\d+; allowed: whole numbers 0\.\.255"),
        (lambda x, y: (x.astype(int) - 1, y), "X_val holds -1; allowed"),
        (lambda x, y: (np.where(x > 9, np.nan, x), y), "X_val holds nan; allowed"),
        (lambda x, y: (x.astype(str), y), "X_val is of dtype <U3; allowed"),
        (lambda x, y: (x, y + 1), r"Y_val holds the label 10; allowed: 0\.\.9"),
        (lambda x, y: (x, np.eye(10)[y]), r"Y_val has shape \(40, 10\) and dtype float64"),
        (lambda x, y: (x, np.array(FASHION_MNIST_CLASSES)[y]), "Y_val has .* allowed: integers"),
        (lambda x, y: (x, y[1:]), "X_val holds 40 images and Y_val 39 labels"),
        (lambda x, y: (x, 3), r"Y_val has shape \(\)"),
    ],
)
def test_bad_data_are_refused_by_the_arguments_name(spoil: Any, message: str) -> None:
    images, labels = random_raw()

    with pytest.raises(DataError, match=message) as refusal:
        small(compiled=False).prepare_data(images, labels, *spoil(images, labels), images, labels)
    assert "\n" not in str(refusal.value)


# --- training ---------------------------------------------------------------------------------


def test_compile_is_the_articles() -> None:
    model = small().model

    assert type(model.optimizer) is keras.optimizers.Adam
    assert model.loss == "categorical_crossentropy"


def test_fit_keeps_one_checkpoint_of_the_best_epoch(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.arange(400) % 10
    images = np.zeros((400, *IMAGE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 6] = 255
    network = small()
    x, y, *_ = network.prepare_data(*(images, labels) * 3)

    history = network.fit(x, y, x[:100], y[:100], epochs=4, batch_size=5)

    accuracies = history.history["val_accuracy"]
    best = max(accuracies)
    assert len(accuracies) == 4
    assert best > accuracies[0]  # so that there was an earlier file to replace
    (file,) = (in_empty_folder / "models" / "keras_checkpoints").iterdir()
    assert file.name == (
        f"FashionMNISTCNN-epoch-{accuracies.index(best) + 1:02d}-val_acc-{best:.4f}.keras"
    )
    assert re.search(rf"^best_val_acc: {best:.4f}$", capsys.readouterr().out, re.MULTILINE)
    predicted = keras.saving.load_model(file).predict(x[:100], verbose=0).argmax(axis=1)
    assert (predicted == labels[:100]).mean() == pytest.approx(best)


def test_first_of_equally_good_epochs_is_kept(in_empty_folder: Path) -> None:
    images, labels = random_raw()
    network = small()
    x, y, x_black, y_each, *_ = network.prepare_data(
        images, labels, images[:10] * 0, np.arange(10), images, labels
    )

    network.fit(x, y, x_black, y_each, epochs=3)

    # Ten equal images, one of each class: whatever is predicted, one is right.
    (file,) = (in_empty_folder / "models" / "keras_checkpoints").iterdir()
    assert file.name == "FashionMNISTCNN-epoch-01-val_acc-0.1000.keras"


def test_another_fit_leaves_the_earlier_fits_checkpoint(in_empty_folder: Path) -> None:
    folder = in_empty_folder / "models" / "keras_checkpoints"
    images, labels = random_raw()
    network = small()
    x, y, *_ = network.prepare_data(*(images, labels) * 3)
    network.fit(x, y, x, y, epochs=1)
    (first,) = folder.iterdir()
    first = first.rename(folder / "FashionMNISTCNN-epoch-01-val_acc-0.8599.keras")

    network.fit(x, y, x, y, epochs=1)

    assert first.exists()
    assert len(list(folder.iterdir())) == 2


def test_evaluate_and_predict_agree() -> None:
    images, labels = random_raw(70)
    network = small()
    x, y, *_ = network.prepare_data(*(images, labels) * 3)

    loss, accuracy = network.evaluate(x, y)
    probabilities = network.predict(x)

    assert probabilities.shape == (70, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert accuracy == pytest.approx((probabilities.argmax(axis=1) == labels).mean())
    assert loss == pytest.approx(-np.log(probabilities[np.arange(70), labels]).mean(), rel=1e-4)


@pytest.mark.parametrize("path", [None, "deep/er/mine.keras"])
def test_saved_model_predicts_the_same(in_empty_folder: Path, path: str | None) -> None:
    network = small(compiled=False)
    x = random_raw()[0].astype(np.float32) / 255

    file = network.save() if path is None else network.save(path)

    assert file == Path(path or "models/FashionMNISTCNN.keras")
    again = keras.saving.load_model(file).predict(x, verbose=0)
    np.testing.assert_array_equal(again, network.predict(x))
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("use", ["fit", "evaluate"])
def test_training_before_compile_is_refused(in_empty_folder: Path, use: str) -> None:
    network = small(compiled=False)
    x, y = np.zeros((10, *IMAGE), np.float32), np.eye(10, dtype=np.float32)

    with pytest.raises(UserError, match=r"call compile\(\) first"):
        network.fit(x, y, x, y) if use == "fit" else network.evaluate(x, y)

    assert not list(in_empty_folder.iterdir())


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": 0}])
def test_bad_budget_is_refused_and_leaves_nothing(
    in_empty_folder: Path, bad: dict[str, int]
) -> None:
    x, y = np.zeros((10, *IMAGE), np.float32), np.eye(10, dtype=np.float32)

    with pytest.raises(UserError, match=r"=0; allowed: 1 or more"):
        small().fit(x, y, x, y, **bad)

    assert not list(in_empty_folder.iterdir())


def test_folder_that_cannot_be_made_is_refused(in_empty_folder: Path) -> None:
    (in_empty_folder / "models").write_text("a file where a folder should be")
    x, y = np.zeros((10, *IMAGE), np.float32), np.eye(10, dtype=np.float32)
    network = small()

    with pytest.raises(UserError, match=r"models/keras_checkpoints cannot be made: Not a dir"):
        network.fit(x, y, x, y, epochs=1)
    with pytest.raises(UserError, match=r"models cannot be made"):
        network.save()


def test_only_keras_files_are_saved(in_empty_folder: Path) -> None:
    with pytest.raises(UserError, match=r"path=out/net\.h5 does not end in \.keras"):
        small().save("out/net.h5")

    assert not list(in_empty_folder.iterdir())
