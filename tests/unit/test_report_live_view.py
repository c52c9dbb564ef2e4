"""The live display's lines."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from fmnist_sweep.analysis.words import time_in_words
from fmnist_sweep.cli.live_view import Running, View, lines_of
from fmnist_sweep.training.progress import StepProgress

words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=60)
shares = st.none() | st.floats(0, 1)


@st.composite
def a_training(draw: st.DrawFn) -> Running:
    steps = draw(st.integers(1, 2000))
    last = draw(st.integers(1, 300))
    progress = StepProgress(
        draw(st.integers(1, last)), last, draw(st.integers(1, steps)), steps,
        draw(st.floats(0, 1e6)), draw(st.floats(0, 1)),
    )  # fmt: skip
    return Running(
        f"trial {draw(st.integers(0, 999))}", f"1-{last}", draw(words),
        draw(st.none() | st.just(progress)),
    )  # fmt: skip


views = st.builds(
    View,
    name=st.just("sweep"),
    spent=words,
    share=shares,
    seconds_left=st.none() | st.floats(0, 1e7),
    best=st.none() | words,
    running=st.lists(a_training(), max_size=30).map(tuple),
)


# More than are shown, one of them with a long name: "and 1 more" stands to the right of it.
@example(
    view=View("sweep", "", None, None, None, (Running("trial 100", "1-1"),) * 13),
    width=20,
    unicode=True,
)
@given(view=views, width=st.integers(20, 300), unicode=st.booleans())
def test_no_line_is_wider_than_the_terminal_and_all_fit_one(
    view: View, width: int, unicode: bool
) -> None:
    lines = list(lines_of(view, width, unicode=unicode))
    assert all(line.cell_len <= width for line in lines)
    assert len(lines) <= 2 + 2 * 12 + 1
    if not unicode and view.best is None:
        assert not {"━", "─"} & set("".join(line.plain for line in lines))
    if width >= 80:  # what matters most is never cut off
        for running, line in zip(
            view.running, [x for x in lines if "trial" in x.plain], strict=False
        ):
            if running.progress is not None and running.progress.loss < 100:
                assert f"epoch {running.progress.epoch} of" in line.plain
                assert f"accuracy {running.progress.accuracy:.4f}" in line.plain


def test_a_view_at_80_columns() -> None:
    view = View(
        name="sweep",
        spent="2 of 8 trials",
        share=0.25,
        seconds_left=600.0,
        best="val_accuracy 0.9500  trial 1  test_accuracy 0.9000",
        running=(
            Running("trial 2", "4-9 (promoted)", "batch_size=64, " * 9,
                    StepProgress(5, 9, 200, 400, 0.25, 0.9)),
            Running("trial 10", "1-3", "", None),
        ),
    )  # fmt: skip
    values = ("batch_size=64, " * 9)[: 80 - 10 - 1]
    assert [line.plain.rstrip() for line in lines_of(view, 80, unicode=True)] == [
        "sweep     ━━━──────────  25 %  2 of 8 trials  about 10 min left",
        "best      val_accuracy 0.9500  trial 1  test_accuracy 0.9000",
        "trial 2   ━━━━━━─────── epoch 5 of 4-9 (promoted)  loss 0.2500  accuracy 0.9000",
        f"          {values}…",
        "trial 10  ───────────── epochs 1-3  starting",
    ]


def test_times_as_one_says_them() -> None:
    said = {0.2: "1 s", 59.6: "60 s", 99: "99 s", 120: "2 min", 5880: "98 min", 7200: "2 hours",
            9100: "2 h 30 min", 3e5: "83 hours"}  # fmt: skip
    assert {seconds: time_in_words(seconds) for seconds in said} == said
