"""Winners in MLflow's registry: which is the champion, what it answers, also when it is served."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import keras
import mlflow
import numpy as np
import pytest
from forked import run_forked
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from PIL import Image
from program import QUICK_SPACE, SHOWN, SMALL, Called, calls, environment, program

from fmnist_sweep import run_sweep
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.runtime import cores
from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry
from fmnist_sweep.tracking.registered import WEIGHTS_TAG, Winner

NAME = "synthetic-cnn"
SWEEP = [*SMALL, *QUICK_SPACE, *SHOWN, "report=false"]
GOOD = [*SWEEP, "sweep.name=good", "sweep.max_trials=2", "train.epochs=3"]
BAD = [*SWEEP, "sweep.name=bad", "sweep.max_trials=1", "train.epochs=1",
       "train.optimizer.learning_rate=1e-6"]  # fmt: skip
ELSEWHERE = [*GOOD, "sweep.name=elsewhere", "split.seed=5"]


@dataclass
class Store:
    folder: Path
    called: list[Called]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlruns/mlflow.db"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    @property
    def versions(self) -> dict[str, ModelVersion]:
        """By the sweeps that made them."""
        found = self.client.search_model_versions(f"name = '{NAME}'")
        return {version.tags["sweep.name"]: version for version in found}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("registry")
    return Store(folder, calls(folder, BAD, GOOD, GOOD, BAD, ELSEWHERE))


def test_each_sweep_registers_its_winner_once(store: Store) -> None:
    assert [called.exit_code for called in store.called] == [0] * 5, store.called
    found = store.client.search_model_versions(f"name = '{NAME}'")
    assert sorted(version.tags["sweep.name"] for version in found) == ["bad", "elsewhere", "good"]


def test_the_champion_is_the_best_on_one_test_set(store: Store) -> None:
    versions = store.versions
    scores = {name: float(version.tags["test_accuracy"]) for name, version in versions.items()}
    assert scores["bad"] < scores["good"]  # else this shows nothing
    told = [called.out for called in store.called]
    assert "the champion (the first one)" in told[0]
    assert "version 2, the champion" in told[1]
    assert "it was that before" in told[2]
    assert "version 1, not the champion" in told[3]
    of_both = f"{scores['bad']:.4f} against {scores['good']:.4f} of version 2 on the same test set"
    assert of_both in told[3]


def test_a_champion_of_another_split_is_measured_on_this_one(store: Store, tmp_path: Path) -> None:
    config = compose_config(ELSEWHERE)
    dataset = load_dataset(config.data)
    images, labels = make_split(config.split, dataset).test_set(dataset)
    champion = store.versions["good"]
    network = keras.saving.load_model(
        mlflow.artifacts.download_artifacts(
            f"{champion.source}/artifacts/best.keras", dst_path=str(tmp_path)
        )
    )
    answers = network.predict(images / np.float32(255), verbose=0).argmax(axis=1)
    theirs = float(np.mean(answers == labels))
    ours = float(store.versions["elsewhere"].tags["test_accuracy"])
    assert f"{ours:.4f} against {theirs:.4f} of version 2" in store.called[4].out
    wanted = store.versions["elsewhere" if ours > theirs else "good"].version
    assert store.client.get_model_version_by_alias(NAME, "champion").version == wanted


def test_the_model_takes_raw_images_and_names_its_classes(store: Store) -> None:
    version = store.versions["good"]
    model = mlflow.pyfunc.load_model(version.source)
    dataset = load_dataset(compose_config(GOOD).data)
    images = dataset.images[:20, ..., 0]
    answers = model.predict(images)
    assert list(answers.columns) == list(dataset.class_names)
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-5)
    network = keras.saving.load_model(
        url2pathname(urlsplit(version.source).path) + "/artifacts/best.keras"
    )
    straight = network.predict(images[..., None] / np.float32(255), verbose=0)
    np.testing.assert_allclose(answers.to_numpy(), straight, atol=1e-6)
    schema = model.metadata.get_input_schema().inputs[0]
    assert (schema.shape, schema.type) == ((-1, 12, 12), np.dtype(np.uint8))
    assert model.input_example.shape == (1, 12, 12)


def test_the_sweeps_run_shows_its_model(store: Store) -> None:
    version = store.versions["good"]
    run = store.client.get_run(version.run_id)
    assert run.info.run_name == "good"
    (output,) = run.outputs.model_outputs
    model = store.client.get_logged_model(output.model_id)
    assert (model.name, model.artifact_location) == (NAME, version.source)


def test_predict_answers_as_the_model_does(store: Store, tmp_path: Path) -> None:
    dataset = load_dataset(compose_config(GOOD).data)
    pixels = dataset.images[7, ..., 0]
    Image.fromarray(pixels).save(tmp_path / "raw.png")
    photograph = Image.fromarray(255 - pixels).resize((240, 240), Image.Resampling.BICUBIC)
    photograph.convert("RGB").save(tmp_path / "photograph.png")
    files = [str(tmp_path / name) for name in ("raw.png", "photograph.png")]
    (tmp_path / "broken.png").write_bytes((tmp_path / "raw.png").read_bytes()[:60])
    Image.fromarray(pixels).save(tmp_path / "label=7.png")
    broken, link = (str(tmp_path / name) for name in ("broken.png", "link.png"))
    Path(link).symlink_to("nowhere")
    for channels in (2, 5):
        register_another(store, f"of-{channels}", channels)
    by_sweep, champion, wrong, missing, some, none, many, opaque, strange = calls(
        store.folder,
        ["predict", "good", *files],
        ["predict", *files, f"tracking.registered_model={NAME}"],
        ["predict", files[0]],
        ["predict", "good", "nowhere.png"],
        ["predict", link, broken, str(tmp_path / "label=7.png"), files[0],
         f"tracking.registered_model={NAME}"],
        ["predict", "good", broken, link],
        ["predict", "good", *[files[0]] * 1001],
        ["predict", files[0], "tracking.registered_model=of-2"],
        ["predict", files[0], "tracking.registered_model=of-5"],
    )  # fmt: skip
    assert (by_sweep.exit_code, champion.exit_code) == (0, 0), by_sweep.err + champion.err
    row = mlflow.pyfunc.load_model(store.versions["good"].source).predict(pixels[None]).iloc[0]
    told = next(line for line in by_sweep.out.splitlines() if "raw.png" in line)
    assert row.idxmax() in told
    printed = [float(number) for number in re.findall(r"\d\.\d{3}\b", told)]
    assert any(number == pytest.approx(row.max(), abs=1e-3) for number in printed)
    assert "inverted, fitted to 12x12" in by_sweep.out
    assert (wrong.exit_code, missing.exit_code) == (2, 2)
    assert f"fashion-mnist-cnn has no champion; there are: of-2, of-5, {NAME}" in wrong.err
    assert "nowhere.png: no such file" in missing.err
    assert missing.err.count("\n") == 1

    assert some.exit_code == 1
    assert [line.partition(" of ")[0] for line in some.err.splitlines()] == [
        f"predict: {link}: no such file; allowed: [SWEEP] IMAGE...",
        f"predict: {broken}: cannot be read as a picture: image file is truncated",
        "error: predict: 2",
    ]
    assert "label=7.png" in some.out
    assert "raw.png" in some.out
    assert none.exit_code == 2
    assert none.err.endswith("error: predict: none of 2 pictures can be read\n")
    assert (many.exit_code, many.out.count("raw.png")) == (0, 1001)
    assert opaque.exit_code == 0, opaque.err
    assert "none" in opaque.out
    assert strange.exit_code == 2
    assert "of-5 version 1 takes images of 5 channels; allowed: models of 1" in strange.err


def register_another(store: Store, name: str, channels: int) -> None:
    """Register a network for images of that many channels as the champion of a model."""
    given = keras.Input((12, 12, channels))
    network = keras.Model(given, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(given)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "best.keras"
        network.save(file)
        registry = MlflowRegistry(store.uri)
        version = registry.register(
            name,
            store.versions["good"].run_id,
            Winner(file, (12, 12, channels), ("a", "b"), np.zeros((12, 12, channels), np.uint8),
                   ["keras"], {WEIGHTS_TAG: name, "test_accuracy": "0.5", "sweep.name": name}, ""),
        )  # fmt: skip
        registry.crown(version)


def test_what_mlflow_advises_authors_of_models_is_not_shown(store: Store, tmp_path: Path) -> None:
    Image.new("L", (12, 12)).save(tmp_path / "one.png")
    asked = program(store.folder, "predict", "good", str(tmp_path / "one.png"))
    assert (asked.returncode, asked.stderr) == (0, "")
    assert not any("type hints" in called.err for called in store.called)


@pytest.fixture
def served(store: Store) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion",
         "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
        env={**environment(), "MLFLOW_TRACKING_URI": store.uri,
             "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


@pytest.mark.release
def test_the_champion_can_be_served(store: Store, served: str) -> None:
    images = load_dataset(compose_config(GOOD).data).images[:3, ..., 0]
    request = urllib.request.Request(
        f"{served}/invocations",
        json.dumps({"inputs": images.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        predictions = json.load(answer)["predictions"]
    champion = store.client.get_model_version_by_alias(NAME, "champion")
    wanted = mlflow.pyfunc.load_model(champion.source).predict(images)
    for given, (_, row) in zip(predictions, wanted.iterrows(), strict=True):
        assert given == pytest.approx(dict(row), abs=1e-6)


_KILLED = """
import os, sys
from fmnist_sweep.tracking.mlflow import registry

def killed(*_, **__):
    os.kill(os.getpid(), 9)

setattr(registry.MlflowClient, sys.argv[1], killed)
from fmnist_sweep.cli.app import main
main(sys.argv[2:])
"""


def test_a_kill_at_any_step_leaves_one_model_in_the_end(tmp_path: Path) -> None:
    for step in ("finalize_logged_model", "log_outputs", "create_model_version"):
        killed = run_forked(_KILLED, tmp_path, [step, *BAD], environment())
        assert killed.returncode == -9, step
    (done,) = calls(tmp_path, BAD)
    assert "version 1, the champion" in done.out, done.err
    store = Store(tmp_path, [done])
    version = store.versions["bad"]
    experiment = store.client.get_run(version.run_id).info.experiment_id
    (model,) = store.client.search_logged_models([experiment])
    (output,) = store.client.get_run(version.run_id).outputs.model_outputs
    assert output.model_id == model.model_id
    assert version.source == model.artifact_location
    assert len(store.client.search_model_versions()) == 1


def test_a_model_that_somebody_else_registered_is_asked_too(store: Store, tmp_path: Path) -> None:
    Image.new("L", (12, 12)).save(tmp_path / "one.png")
    store.client.create_registered_model("theirs")
    made = store.client.create_model_version("theirs", store.versions["good"].source)
    store.client.set_registered_model_alias("theirs", "champion", made.version)
    named = "tracking.registered_model=theirs"
    # A process each: the first starts TensorFlow with other threads than the sweep's.
    (asked,) = calls(store.folder, ["predict", str(tmp_path / "one.png"), named])
    (sweep,) = calls(store.folder, [*BAD, named])
    assert (asked.exit_code, sweep.exit_code) == (0, 0), asked.err + sweep.err
    assert "theirs version 1\n" in asked.out
    assert "not the champion" in sweep.out


@keras.saving.register_keras_serializable(package="own")
class Own(keras.layers.Layer):
    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs * 1.0


def with_own_code(_: RunConfig, shape: tuple[int, int, int], classes: int) -> keras.Model:
    given = keras.Input(shape)
    answers = keras.layers.Dense(classes, "softmax")(keras.layers.Flatten()(Own()(given)))
    return keras.Model(given, answers)


def test_what_nobody_else_can_load_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [*SMALL, *SHOWN, "report=false", "model=small_cnn", "train.epochs=1",
             "+space.train.batch_size={choice: [50]}", "sweep.max_trials=1",
             f"train.threads={cores()}"]  # fmt: skip
    sweep = run_sweep(compose_config(given), build_model=with_own_code)
    assert sweep.registration is None
    assert "not registered: only its own code loads" in caplog.text
    assert "Own" in caplog.text
    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert not MlflowClient(uri, uri).search_registered_models()
    assert len(sweep.state.official) == 1  # where that code is, it can be measured
