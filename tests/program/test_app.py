"""The program from outside: exit codes, one line for each mistake, nothing left behind."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_sweep.cli import app
from fmnist_sweep.config.composition import Composition
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import RunError

HEAVY = ("tensorflow", "keras", "keras_tuner", "mlflow", "pandas", "sklearn", "matplotlib")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)


def in_a_process(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fmnist_sweep", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


MISTAKES = [
    ("train.batch_size=0", "train.batch_size=0: must be at least 1"),
    ("train.epochs=many", "train.epochs=many: must be a whole number"),
    ("train.batchsize=64", "train.batchsize=64: unknown key; did you mean batch_size?"),
    ("+train.foo=1", "train.foo=1: unknown key; allowed: epochs,"),
    ("trian.epochs=1", "trian.epochs=1: unknown key trian; did you mean train?"),
    ("train.seed.a=1", "train.seed.a=1: unknown key; train.seed is a whole"),
    ("'train.optimizer={lr: 1}'", "train.optimizer.lr: unknown key; did you mean learning_rate?"),
    (
        "'model.conv_blocks=[{filters: 3}]'",
        "model.conv_blocks.0.filters=3: unknown key; did you mean channels?",
    ),
    ("tuner.factor=3", "tuner.factor=3: that key belongs to hyperband; choose tuner=hyperband"),
    (
        "model.conv_defaults.activation=rellu",
        "model.conv_defaults.activation=rellu: must be one of",
    ),
    (
        "train.optimizer.name=adm",
        "train.optimizer.name=adm: must be one of adam, adamw, sgd, rmsprop; did you mean adam?",
    ),
    (
        "train.optimizer.learning_rate=inf",
        "train.optimizer.learning_rate=inf: must be a finite number",
    ),
    ("model.conv_blocks.9.channels=3", "model.conv_blocks.9.channels=3: list index out of range"),
    ("modle=small_cnn", "modle=small_cnn: unknown key; did you mean model?"),
    ("model=smal_cnn", "model=smal_cnn: no such file; did you mean small_cnn?"),
    ("model=../../elsewhere", "model=../../elsewhere: must be a name"),
    ("train=null", "train=null: a group needs the name of a file"),
    ("+model=small_cnn", "model: chosen twice; write model=NAME"),
    ("sweep=cnn", "sweep=cnn: nothing to replace; write +sweep=cnn"),
    ("++best=mine", "++best=mine: write +best=mine"),
    ("train.seed@x=3", "train.seed@x=3: no group has that name"),
    ("+best=nosuch", "best=nosuch: there is no file in experiments/best"),
    ("+train.seed=2", "+train.seed=2: the key already exists; write train.seed=2"),
    ("'~train.foo'", "~train.foo: nothing with that name to remove"),
    ("'~train.seed'", "train.seed: missing; must be a whole number"),
    ("train.seed=1,2", "train.seed=1,2: several values need -m"),
    ("'train.seed=range(1,3)'", "train.seed=range(1,3): several values need -m"),
    ("'train.seed=[1'", "train.seed=[1: cannot be read"),
    ("'train.seed='\"'\"'1'", "train.seed='1: cannot be read"),
    ("train.seed=1 epochs", "epochs: must be written key=value"),
    ("=", "=: must be written key=value"),
    ("'train.seed=${nosuch}'", "train.seed: Interpolation key 'nosuch' not found"),
    ("'data.dir=${oc.env:HOME}'", "data.dir: Unsupported interpolation type oc.env"),
    ("data=csv", "data.train_file: missing; write data.train_file=..."),
    ("tracking.tags.a=b", "tracking.tags.a=b: does not exist yet; write +tracking.tags.a=b"),
    ("hydra.foo=1", "hydra.foo=1: Hydra has no such key"),
    ("'train=[1,2]'", "train=[1,2]: not valid"),
    ("hydra.verbose=3", "hydra.verbose=3: not valid"),
    ("-m train.batch_size=64,0", "train.batch_size=0: must be at least 1"),
    ("-m train.sed=1,2", "train.sed=1,2: unknown key; did you mean seed?"),
    ("sweep.name=../x", "sweep.name=../x: must be a name"),
    ("--frobnicate", "unrecognized arguments: --frobnicate"),
    ("--cfg jobs", "argument --cfg/-c: invalid choice: 'jobs'"),
    ("--cfg job -p nosuch", "package 'nosuch' not found"),
    ("spaec", "spaec: no such command; did you mean space?"),
    ("train.seed", "train.seed: no such command; there are: space"),
    ("space train.seed=-1", "train.seed=-1: must be at least 0"),
]


@pytest.mark.parametrize(("typed", "line"), MISTAKES)
def test_mistake_is_one_line(
    typed: str, line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert app.main(shlex.split(typed)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("typed", "line"), MISTAKES[:: len(MISTAKES) // 4])
def test_mistake_is_one_line_in_a_process_too(typed: str, line: str, tmp_path: Path) -> None:
    ended = in_a_process(*shlex.split(typed))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {line}")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


KEYS = ["train.seed", "train", "model", "+sweep", "+best", "~train", "space.x", "+space.a.b",
        "tracking.tags", "++train.epochs", "model.conv_blocks.0.channels", "train@x", "",
        "hydra.mode", "hydra/launcher", "hydra.verbose", "--cfg", "-m"]  # fmt: skip
VALUES = st.text(alphabet="ab1,[]{}:.$\\'\"()=/ ~+-é\n\t", max_size=8) | st.sampled_from(
    ["1", "null", "[1,2]", "{a: 1}", "${a}", "${train}", "1,2", "choice(1,2)", "glob(*)", "???",
     "RUN", "MULTIRUN", "int(3)", "[a", "${", "${hydra:job}", "small_cnn"]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    argv=st.lists(
        st.builds(
            lambda key, sign, value: f"{key}{sign}{value}",
            st.sampled_from(KEYS),
            st.sampled_from(["=", "=", "", ":"]),
            VALUES,
        ),
        min_size=1,
        max_size=2,
    )
)
def test_whatever_is_typed_runs_or_is_one_line(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "run", lambda config, composition: None)
    capsys.readouterr()
    exit_code = app.main(argv)
    err = capsys.readouterr().err
    assert (exit_code, err.count("\n")) in [(0, 0), (2, 1)], err


def test_help_shows_groups_and_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fmnist_sweep.cli import app\n"
        "try:\n"
        "    app.main(['--help'])\n"
        "finally:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *lines, heavy = ended.stdout.splitlines()
    assert heavy == "[]"
    text = "\n".join(lines)
    for command in ("+sweep=cnn", "+best=NAME", "train.epochs=1 model=small_cnn"):
        assert f"python -m fmnist_sweep {command}" in text
    for group in ("data", "split", "model", "train", "tuner", "executor", "tracking"):
        assert f"\n{group}: " in text
    for name in app.COMMANDS:
        assert f"python -m fmnist_sweep {name} " in text


def test_info_names_where_files_are_read_from(tmp_path: Path) -> None:
    ended = in_a_process("--info", "searchpath")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"experiments://{tmp_path / 'experiments'}" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_user_s_own_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("best/first", "best/second", "sweep/mine"):
        path = tmp_path / "experiments" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("train: {seed: 1}\n")
    with pytest.raises(SystemExit) as ended:
        app.main(["--help"])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "\nbest: first, second\n" in printed
    assert "mine" in printed.partition("\nsweep: ")[2].partition("\n")[0]


def test_command_gets_the_config_of_the_rest_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Config, Composition]] = []
    look = app.Command(lambda *call: seen.append(call))
    monkeypatch.setitem(app.COMMANDS, "look", look)
    assert app.main(["look", "train.seed=6"]) == 0
    [(config, composition)] = seen
    assert config.train.seed == 6
    assert composition.overrides == ("train.seed=6",)


def test_command_gets_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    look = app.Command(
        lambda config, composition, *words: seen.append(words), "RUN [NAME]", least=1, most=2
    )
    monkeypatch.setitem(app.COMMANDS, "look", look)
    assert app.main(["look", "one", "train.seed=6"]) == 0
    assert app.main(["look", "one", "two"]) == 0
    assert seen == [("one",), ("one", "two")]


def test_paths_that_look_like_config_are_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[tuple[str, ...], int]] = []
    look = app.Command(
        lambda config, composition, *words: seen.append((words, config.train.seed)),
        "IMAGE...", least=1, most=None, paths=True,
    )  # fmt: skip
    monkeypatch.setitem(app.COMMANDS, "look", look)
    monkeypatch.chdir(tmp_path)
    for name in ("label=3.png", "+x.png", "-x.png"):
        (tmp_path / name).touch()
    for arguments in (
        ["label=3.png", "+x.png", "missing=1.jpg", "train.seed=6"],
        ["./label=4.png", "/some/where=1/x.png", "train.seed=6"],
        ["a.png", "train.seed=6", "--", "-x.png", "none=5.png", "--help"],
        ["train.seed=6", "--", "a.png"],
        [*["a.png"] * 20_000, "train.seed=6"],
    ):
        assert app.main(["look", *arguments]) == 0
    assert seen == [
        (("label=3.png", "+x.png", "missing=1.jpg"), 6),
        (("./label=4.png", "/some/where=1/x.png"), 6),
        (("a.png", "-x.png", "none=5.png", "--help"), 6),
        (("a.png",), 6),
        (("a.png",) * 20_000, 6),
    ]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["export"], "none"),
        (["export", "a", "b", "c"], "a b c"),
        (["export", "--", "a=1", "-b", "c" * 99], f"a=1 -b {'c' * 60}..."),
        (["export", *["word"] * 1000], "1,000 words, word word word word word ..."),
    ],
)
def test_command_refuses_another_number_of_words(
    words: list[str], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(words) == 2
    assert capsys.readouterr().err == f"error: export: takes RUN [NAME], given: {given}\n"


def test_a_limit_on_the_words_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["report", *["sweep"] * 11]) == 2
    assert capsys.readouterr().err == (
        "error: report: takes SWEEP [SWEEP...], 10 at most, "
        "given: 11 words, sweep sweep sweep sweep sweep ...\n"
    )


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (RunError("the disk\nis full"), 1, "error: the disk is full\n"),
        (
            KeyError("it is off"),
            1,
            "error: unexpected KeyError: 'it is off' (for the traceback, set HYDRA_FULL_ERROR=1)\n",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_trouble_while_running(
    error: BaseException,
    exit_code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(config: Config, composition: Composition) -> None:
        raise error

    monkeypatch.setitem(app.COMMANDS, "fail", app.Command(fail))
    assert app.main(["fail"]) == exit_code
    assert capsys.readouterr().err == line


def test_traceback_is_shown_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert app.main(["train.seed=-1"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: train.seed=-1: must be at least 0\n")


def test_ctrl_c_ends_the_program_with_130() -> None:
    code = (
        "import sys, time\n"
        "from fmnist_sweep.cli import app\n"
        "def wait(config, composition):\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(600)\n"
        "app.COMMANDS['wait'] = app.Command(wait)\n"
        "sys.exit(app.main(['wait']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "error: interrupted\n")
