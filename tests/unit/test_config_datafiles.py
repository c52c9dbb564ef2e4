"""The user's own files hold data: whatever could do more than set values is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_sweep.config.compose import compose
from fmnist_sweep.config.datafiles import OVERRIDABLE
from fmnist_sweep.config.shipped import shipped_conf_dir
from fmnist_sweep.errors import ConfigError

SPACE = "space: {train: {batch_size: {choice: [32, 64]}}}\n"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "sweep/mine.yaml") -> Path:
    path = Path("experiments") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("header", ["", "# A question.\n\n# @package _global_\n"])
def test_file_is_config_like_any_other(header: str) -> None:
    defaults = "defaults:\n  - override /tuner: hyperband\n  - _self_\n"
    write(f"{header}{defaults}{SPACE}train: {{epochs: 9}}")
    config, composition = compose(["+sweep=mine", "train.seed=7", "sweep={max_trials: 3}"])
    assert config.space == {"train": {"batch_size": {"choice": [32, 64]}}}
    assert (config.tuner.name, config.train.epochs, config.train.seed) == ("hyperband", 9, 7)
    assert composition.selected == {"sweep": "mine"}
    assert composition.overrides == ("+sweep=mine", "train.seed=7", "sweep={max_trials: 3}")
    assert composition.overridden_keys == ("train.seed", "sweep.max_trials")


def test_number_in_scientific_notation_is_a_number() -> None:
    write("train: {optimizer: {learning_rate: 1e-4}}\n", "best/mine.yaml")
    config, _ = compose(["+best=mine"])
    assert config.train.optimizer.learning_rate == 1e-4


def test_reference_to_another_key_is_allowed() -> None:
    write("train: {epochs: 6}\nsweep: {max_epochs_total: '${train.epochs}'}\n" + SPACE)
    assert compose(["+sweep=mine"])[0].sweep.max_epochs_total == 6


CODE = "{evil: {_target_: os.getcwd}}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"hydra: {{callbacks: {CODE}}}", "hydra"),
        (f"hydra.callbacks: {CODE}", "hydra.callbacks"),
        ("train: {hydra: {}}", "train.hydra"),
        ("train: {optimizer: {_target_: os.getcwd}}", "train.optimizer._target_"),
        ("model: {conv_blocks: [{_target_: os.getcwd}]}", "model.conv_blocks.0._target_"),
        ("train: {_partial_: true}", "train._partial_"),
        ("variants: {a: {model.hydra.x: 1}}", "variants.a.model.hydra.x"),
        ("# @package hydra\ncallbacks: {}", "@package hydra"),
        ("# a comment\n#@package hydra.callbacks\na: 1", "@package hydra.callbacks"),
        ("defaults: [override /hydra/launcher: basic]", "override /hydra/launcher"),
        ("defaults: [/model: small_cnn]", "/model"),
        ("defaults: [override /model@hydra: small_cnn]", "override /model@hydra"),
        ("defaults: [override /model: ../small_cnn]", "../small_cnn"),
        ("defaults: [override /model: [small_cnn]]", "small_cnn"),
        ("defaults: [override /tracking: off]", "quote the name"),
        ("defaults: [other]", "other"),
        ("defaults: {model: small_cnn}", "defaults"),
        ("tracking: {note: '${oc.env:HOME}'}", "${oc.env:HOME}"),
        ("tracking: {note: '${hydra:runtime.cwd}'}", "${hydra:runtime.cwd}"),
        ("tracking: {note: 'x ${oc.decode:${train.seed}}'}", "tracking.note"),
        ("a: oc.env\ntracking: {note: '${${a}:HOME}'}", "tracking.note"),
        ("tracking: {tags: {a: '${now:%Y}'}}", "tracking.tags.a"),
        ("sweep: {start_with: [{a: '${oc.env:HOME}'}]}", "sweep.start_with.0.a"),
    ],
)
@pytest.mark.parametrize("group", ["sweep", "best", "baseline"])
def test_more_than_data_is_refused(text: str, named: str, group: str) -> None:
    write(text, f"{group}/mine.yaml")
    message = refused(f"+{group}=mine")
    assert message.startswith(f"experiments/{group}/mine.yaml: ")
    assert named in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"train: {seed: 1", "line 1"),
        (b"train:\n  seed: 1\n seed: 2\n", "line 3"),
        (b"train: {seed: 1}\ntrain: {seed: 2}\n", "duplicate key"),
        (b"- train\n", "not a list"),
        (b"\xff\xfe\x00", "codec"),
        (b"train: !!python/object/apply:os.getcwd []\n", "constructor"),
    ],
)
def test_no_valid_yaml_is_refused(content: bytes, reason: str) -> None:
    write("").write_bytes(content)
    message = refused("+sweep=mine")
    assert message.startswith("experiments/sweep/mine.yaml")
    assert reason in message


@pytest.mark.parametrize(
    "name",
    ["../mine", "../../etc/passwd", "/etc/passwd", "a/b", "./mine", ".hidden", "sub/../mine"],
)
def test_name_that_is_a_path_is_refused(name: str) -> None:
    write(SPACE)
    write(SPACE, "mine.yaml")
    assert refused(f"+sweep={name}").startswith(f"sweep={name}: must be a name")


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(SPACE)
    write(SPACE)
    Path("experiments/sweep/link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    assert "is a link to a file outside its folder" in refused("+sweep=link")


def test_missing_name_is_told_with_those_that_exist() -> None:
    for name in ("mine", "other"):
        write(SPACE, f"best/{name}.yaml")
    assert refused("+best=mien").startswith("best=mien: no such file; did you mean mine?")
    assert refused("+best=zzz").endswith("; there are: mine, other")
    assert refused("+baseline=zzz") == "baseline=zzz: there is no file in experiments/baseline"


def test_unknown_key_in_a_file_is_refused() -> None:
    write("train: {batchsize: 64}\n")
    assert refused("+sweep=mine") == "train.batchsize=64: unknown key; did you mean batch_size?"


def test_shadow_of_a_shipped_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "shipped"
    (conf / "sweep").mkdir(parents=True)
    (conf / "sweep" / "cnn.yaml").write_text("# @package _global_\n" + SPACE)
    monkeypatch.setattr("fmnist_sweep.config.datafiles.shipped_conf_dir", lambda: conf)
    write(SPACE, "sweep/cnn.yaml")
    write(SPACE, "sweep/mine.yaml")
    message = refused("+sweep=cnn")
    assert message.startswith("experiments/sweep/cnn.yaml: a shipped sweep has the same name")
    assert compose(["+sweep=mine"])[0].is_sweep


def test_only_the_three_groups_are_read_from_experiments() -> None:
    """A folder `hydra` or `model` there would else be found wherever it is named."""
    write("callbacks: {evil: {_target_: os.getcwd}}\n", "hydra/sweeper/basic.yaml")
    write("a: 1\n", "hydra/callbacks/evil.yaml")
    write("a: 1\n", "config.yaml")
    for group in OVERRIDABLE:
        write("a: 1\n", f"{group}/mine.yaml")
        assert refused(f"{group}=mine").startswith(f"{group}=mine: no such file; ")
    assert refused("+hydra/callbacks=evil")
    config, _ = compose()
    assert config == compose()[0]
    assert not hasattr(config, "a")


def test_shipped_folder_is_the_repository_s() -> None:
    assert (shipped_conf_dir() / "config.yaml").is_file()


def test_the_winner_of_a_sweep_with_the_longest_name_can_be_chosen() -> None:
    longest = "s" * 100
    write(SPACE, f"sweep/{longest}.yaml")
    assert compose([f"+sweep={longest}"])[1].selected == {"sweep": longest}
    assert "must be a name of at most 100 letters" in refused(f"+sweep={longest}s")
    # Its default name, and its winner's where the file exists with other content.
    winner = f"synthetic-{longest}-1a2b3c-4d5e6f"
    write("train: {epochs: 2}\n", f"best/{winner}.yaml")
    assert compose([f"+best={winner}"])[0].train.epochs == 2
    assert "must be a name of at most 150 letters" in refused(f"+best={'b' * 151}")
