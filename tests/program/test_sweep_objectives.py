"""A real sweep for accuracy and size: its front, its winner, and another choice afterwards."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from program import QUICK_SPACE, SHOWN, SMALL, Called, Store, artifact, calls, sweep_folder
from test_report import Page

SWEEP = [
    *SMALL, *QUICK_SPACE, *SHOWN, "tuner=nsga2", "tuner.population=3", "sweep.max_trials=7",
    "sweep.objectives=[{metric: val_accuracy}, {metric: parameters}, {metric: predict_ms}]",
    "sweep.name=two", "tracking.keep_checkpoints=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called, pd.DataFrame]:
    place = tmp_path_factory.mktemp("objectives")
    (done,) = calls(place, SWEEP)
    assert done.exit_code == 0, done.err
    return place, done, table_of(place)


def table_of(place: Path) -> pd.DataFrame:
    (parent,) = Store(place).parents
    return pd.read_csv(artifact(place, parent, "leaderboard.csv"))


def test_the_front_is_marked_everywhere(swept: tuple[Path, Called, pd.DataFrame]) -> None:
    place, done, table = swept
    scores = table[["val_accuracy", "parameters", "predict_ms"]] * [1, -1, -1]
    assert (table["predict_ms"] > 0.0).all()
    front = set()
    for trial, own in zip(table["trial"], scores.to_numpy(), strict=True):
        better = (scores >= own).all(axis=1) & (scores > own).any(axis=1)
        front |= set() if better.any() else {trial}
    assert set(table.loc[table["pareto_front"], "trial"]) == front
    store = Store(place)
    tagged = {
        int(run.data.tags["trial"])
        for run in store.children
        if run.data.tags["trial.pareto_front"] == "true"
    }
    assert tagged == front
    assert all("predict_ms" in run.data.metrics for run in store.children)
    assert store.parents[0].data.params["sweep.objectives"] == (
        "val_accuracy, parameters, predict_ms"
    )
    assert "| front |" in store.parents[0].data.tags["mlflow.note.content"]
    assert "front: no other trial is as good in each of val_accuracy" in done.out
    page = Page((place / "mlruns/reports/two/report.html").read_text())
    assert "pareto_front" in page.pictures


@pytest.mark.release
def test_another_choice_has_another_winner_without_training(
    swept: tuple[Path, Called, pd.DataFrame],
) -> None:
    place, _, table = swept
    front = table[table["pareto_front"]]
    winner = front.iloc[0]
    assert winner["rank"] == 1
    assert winner["val_accuracy"] == front["val_accuracy"].max()
    smallest = int(front["parameters"].min())
    allowed = front[front["parameters"] <= smallest]
    journal = sweep_folder(place) / "journal.jsonl"
    before = journal.read_text()
    choice = f"sweep.choose={{parameters: {{max: {smallest}}}}}"
    chosen, again, over = calls(place, [*SWEEP, choice], [*SWEEP, choice], SWEEP)
    for done in (chosen, again, over):
        assert done.exit_code == 0, done.err
    added = journal.read_text().removeprefix(before)
    assert '"kind":"epoch"' not in added
    assert added.count('"kind":"bounded"') == 2, "once it is set, and once it is taken back"
    best = allowed.loc[allowed["val_accuracy"].idxmax()]
    assert f"winner: trial {best['trial']}, val_accuracy {best['val_accuracy']:.4f}" in chosen.out
    assert f"chosen among those with parameters at most {smallest}" in chosen.out
    assert "registered: synthetic-cnn version" in chosen.out
    assert f"winner: trial {best['trial']}," in again.out
    assert f"winner: trial {winner['trial']}," in over.out
    files = sorted(path.stem for path in (place / "experiments/best").iterdir())
    is_other = best["trial"] != winner["trial"]
    assert len(files) == 1 + is_other
    for name in files:
        assert "expected:" in (place / "experiments/best" / f"{name}.yaml").read_text()


def test_what_cannot_search_for_several_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    others = [word for word in SWEEP if not word.startswith("tuner")]
    refused = calls(tmp_path, [*others, "tuner=bayesian"], [*SWEEP, "scheduler=asha"])
    for done, named in zip(refused, ("tuner=bayesian: ", "scheduler=asha: "), strict=True):
        assert done.exit_code == 2, done
        assert done.err.strip().count("\n") == 0
        assert named in done.err
    assert list(tmp_path.iterdir()) == []
