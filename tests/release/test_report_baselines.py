"""Published systems beside ours: made from tracked runs, into the files and a page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from program import calls
from search_fakes import ENVIRONMENT

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.record_schema import Expected, ExpectedMetric, Reported
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.runs.baselines import Baseline, markdown, write_baseline_file
from fmnist_sweep.tracking.baseline_runs import BaselineRuns

REPOSITORY = Path(__file__).parents[2]
PARAMETERS = {
    "convnet_500_steps": 3_274_634,
    "wrapper": 3_467_402,
    "estimator_cnn": 1_447_946,
    "functional_cnn": 1_199_882,
    "mlp": 203_530,
    "intro_cnn": 302_026,
}
MINE = """\
# @package _global_
# An old header.
defaults:
  - override /data: synthetic
  - override /model: small_cnn
# a remark that stays
data: {train_size: 300, test_size: 50, image_size: 8}
split: {validation: 50, test: 50}
model:
  conv_blocks: [{channels: 2}]
train: {epochs: null, steps: 10, batch_size: 25, threads: 1}
tracking: {every_steps: 2}
reported:
  by: somebody
  test_accuracy: [0.2, 0.3]
  step_loss: [2.0, 1.0, 0.5, 0.25, 0.125]
  remark: nothing to see
"""


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_shipped_baseline_is_the_network_that_was_published(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    config = compose_config([f"+baseline={name}"])
    assert plan_cnn(config.model, (28, 28, 1), 10).parameters == PARAMETERS[name]
    assert config.reported is not None
    assert config.reported.parameters in (None, PARAMETERS[name])


def test_each_shipped_baseline_is_known() -> None:
    files = (REPOSITORY / "experiments" / "baseline").glob("*.yaml")
    assert {path.stem for path in files} == set(PARAMETERS)


def test_header_record_and_page_are_made_from_the_runs(tmp_path: Path) -> None:
    path = tmp_path / "experiments" / "baseline" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    (path.parent / "plain.yaml").write_text("train: {epochs: 1}\n")
    untracked, _, derived, written, rerun, again, unknown = calls(
        tmp_path,
        ["baselines", "tracking.uri=sqlite:////nowhere/at/all.db"],
        ["-m", "+baseline=mine", "train.seed=1,2,3"],
        ["+baseline=mine", "train.batch_size=5"],  # another config: no run of this baseline
        ["baselines"],
        ["+baseline=mine"],
        ["baselines"],
        ["baselines", "mini"],
    )
    assert (untracked.exit_code, untracked.err.count("\n")) == (2, 1)
    assert derived.exit_code == 0
    assert written.exit_code == 0, written
    assert "mine: header and record of seeds 1, 2, 3\n" in written.out
    assert "plain: has no `reported` results; not changed\n" in written.out

    text = path.read_text()
    assert text.startswith("# @package _global_\n# Written by `python -m fmnist_sweep baselines`")
    assert "# (end of what is written)\n# An old header.\n" in text
    assert "# a remark that stays\n" in text
    assert text.count("expected:") == 1
    assert re.search(r"^# test_accuracy +0.2000 to 0.3000  0\.\d{4} ± 0\.\d{4}$", text, re.M)
    before, after = OmegaConf.create(MINE), OmegaConf.create(text)
    del after["expected"]
    assert after == before

    assert rerun.exit_code == 0, rerun
    assert "verdict: exact" in rerun.out
    assert "│ test_accuracy │ 0.2000 to 0.3000 │" in rerun.out
    page = (tmp_path / "docs" / "baselines.md").read_text()
    for row in (
        r"\| `mine`: somebody \| [\d,]+ \| reported \| - \| - \| 0.2000 to 0.3000 \| - \|",
        r"\| \| \| ours, n = 3 \| 0\.\d{4} ± 0\.\d{4} \| 0\.\d{4} ± .* \| 0\.\d{4} ± .* \| \d",
        r"\| step \| 2 \| 4 \| 6 \| 8 \| 10 \|",
        r"\| ours, relative to the first \| 1 \| .*",
        r"\| reported, relative to the first \| 1 \| 0.5 \| 0.25 \| 0.125 \| 0.0625 \|",
        r"- `mine`: nothing to see",
    ):
        assert re.search(f"^{row}", page, re.M), row
    # The rerun takes the place of seed 1's run, and says the same.
    assert again.exit_code == 0
    assert path.read_text() == text
    assert (unknown.exit_code, unknown.out) == (2, "")
    assert "there are: mine, plain" in unknown.err


def baseline(expected: Expected | None, by: str = "somebody") -> Baseline:
    runs = BaselineRuns(
        seeds=(1, 2),
        accuracies={"accuracy": [0.5, 0.7], "val_accuracy": [], "test_accuracy": [0.25, 0.25]},
        parameters=1234,
        epoch_seconds=1.25,
        step_loss=[],
        environment=ENVIRONMENT,
        left_out=0,
        expected=expected,
    )
    return Baseline("mine", Reported(by=by, test_accuracy=0.3), runs)


EXPECTED = Expected(
    metrics={"test_accuracy": ExpectedMetric(value=0.25, tolerance=0.1)},
    data_sha256="d" * 64,
    split_sha256="5" * 64,
    weights_sha256="a" * 64,
    best_weights_sha256="b" * 64,
    numerics=ENVIRONMENT.numerics,
    config="{}",
)


@pytest.mark.parametrize(
    "text",
    [
        "train: {epochs: 1}\n",
        "# @package _global_\n# mine\ntrain: {epochs: 1}\n",
        "# @package _global_\n\n# mine\nexpected: null\ntracking: {note: x}\n# end\n",
        "expected:\n  metrics: {}\n\n  # inside\n  data_sha256: x\n# above\ntrain: {epochs: 2}\n",
        "# @package _global_\r\ntrain:\r\n  epochs: 1\r\n",
        "train: {epochs: 1}",
    ],
)
def test_all_but_what_is_measured_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode())
    for _twice in range(2):
        write_baseline_file(path, baseline(EXPECTED))
        written = path.read_text()
        values = OmegaConf.create(written)
        assert values.pop("expected") == EXPECTED.model_dump()
        before = OmegaConf.create(text)
        before.pop("expected", None)
        assert values == before
        for remark in re.findall(r"^# (?!@package).*$", text, re.MULTILINE):
            assert written.splitlines().count(remark.strip()) == 1
        assert re.search(r"^# accuracy +-  0\.6000 ± 0\.1414$", written, re.MULTILINE)
        assert re.search(r"^# val_accuracy +-  -$", written, re.MULTILINE)
    write_baseline_file(path, baseline(None))
    assert "expected" not in path.read_text()


def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "{train: {epochs: 1}, expected: null}\n"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: cannot write header and record"):
        write_baseline_file(path, baseline(EXPECTED))
    assert path.read_text() == text


def test_what_others_wrote_stays_in_its_cell_and_its_line(tmp_path: Path) -> None:
    odd = baseline(EXPECTED, by="a | b\n[bold]c[/x]")
    assert "| `mine`: a \\| b [bold]c[/x] | 1,234 | reported | - | - | 0.3000 | - |" in markdown(
        [odd]
    )
    path = tmp_path / "mine.yaml"
    path.write_text("train: {epochs: 1}\n")
    write_baseline_file(path, odd)
    assert "# mine: a | b [bold]c[/x].\n" in path.read_text()


@pytest.mark.parametrize(
    ("reported", "told"),
    [
        (Reported(by="b", accuracy=0.88), "none"),  # ours: 0.6 ± 0.1414
        (Reported(by="b", accuracy=0.89), "`mine` (accuracy)"),
        (Reported(by="b", test_accuracy=[0.2, 0.9]), "none"),  # ours: 0.25 ± 0
        (Reported(by="b", test_accuracy=[0.26, 0.9]), "`mine` (test_accuracy)"),
        (Reported(by="b", val_accuracy=0.9), "none"),  # ours: none
    ],
)
def test_what_is_lower_than_reported_is_named(reported: Reported, told: str) -> None:
    page = markdown([replace(baseline(None), reported=reported)])
    assert f"- Lower than reported by more than two standard deviations: {told}.\n" in page


def test_the_newest_run_of_a_seed_counts_and_its_environment(tmp_path: Path) -> None:
    path = tmp_path / "experiments" / "baseline" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    elsewhere = "import os\nos.environ['ONEDNN_DEFAULT_FPMATH_MODE'] = 'STRICT'\n"
    calls(tmp_path, ["-m", "+baseline=mine", "train.seed=1,2"])
    calls(tmp_path, ["-m", "+baseline=mine", "train.seed=3,1"], before=elsewhere)
    (written,) = calls(tmp_path, ["baselines"])
    assert "mine: header and record of seeds 1, 3, 1 run of other machines excluded" in written.out
    settings = OmegaConf.load(path).expected.numerics.settings
    assert settings == {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}
