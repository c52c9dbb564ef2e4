"""Published systems beside ours: made from tracked runs, into the files and a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from program import calls

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.model.plan import plan_cnn

REPOSITORY = Path(__file__).parents[1]
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
    assert "plain: says nothing of what was `reported`; left as it is\n" in written.out

    text = path.read_text()
    assert "An old header" not in text
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
        r"\| ours, over the first \| 1 \| .*",
        r"\| reported, over the first \| 1 \| 0.5 \| 0.25 \| 0.125 \| 0.0625 \|",
        r"- `mine`: nothing to see",
    ):
        assert re.search(f"^{row}", page, re.M), row
    # The rerun takes the place of seed 1's run, and says the same.
    assert again.exit_code == 0
    assert path.read_text() == text
    assert (unknown.exit_code, unknown.out) == (2, "")
    assert "there are: mine, plain" in unknown.err
