"""MLflow's UI, as `python -m fmnist_sweep ui` serves it, in a real browser on a real sweep."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Run
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from program import QUICK_SPACE, SHOWN, SMALL, Store, environment, program

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_SECONDS = 120.0  # of two slow cores that have something else to do

FOUND = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    FOUND is None,
    reason=f"no browser: none of {', '.join(BROWSERS)} is on the PATH; on Debian and Ubuntu "
    "`apt-get install chromium` installs one",
)

# In each chart, an epoch of a trial being a point.
POINTS_DRAWN = """points => [...document.querySelectorAll('.js-plotly-plot')].every(
    chart => chart.querySelectorAll('.point').length >= points)"""


@dataclass
class Served:
    """A folder in which a sweep was run, and what `ui` printed of it."""

    folder: Path
    sweep: Run
    trials: list[Run]
    links: dict[str, str]

    @property
    def name(self) -> str:
        return str(self.sweep.info.run_name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("browsed")
    done = program(
        folder, *SMALL, *QUICK_SPACE, *SHOWN, "tuner=hyperband", "train.epochs=3",
        "sweep.max_trials=4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = Store(folder)
    with subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep", "ui", str(free_port())],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            yield Served(folder, store.parents[0], store.children, links_printed(server))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def links_printed(server: subprocess.Popen[str]) -> dict[str, str]:
    """What `ui` says, by what each link shows, once the address that it gives first answers."""
    assert server.stdout is not None
    head = server.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:(\d+)", head)
    assert address is not None, head
    links = {}
    for line in server.stdout:
        what, _, link = line.strip().rpartition("  ")
        links[what.strip()] = link
        if len(links) == 3:
            break
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_open(int(address[1])):
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.3)
    return links


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of somebody who was never here before; columns out of sight would not be there."""
    context = browser.new_context(viewport={"width": 3200, "height": 1200})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    yield context.new_page()
    context.close()


def row(page: Page, run: str) -> Locator:
    """A run's row of the table, which stands there in parts, side by side: the one with values."""
    link = page.get_by_role("link", name=run, exact=True)
    expect(link).to_be_visible()
    number = page.locator("[role=row]").filter(has=link).first.get_attribute("row-id")
    return page.locator(f"[role=row][row-id='{number}']")


def cell(page: Page, run: str, column: str) -> Locator:
    return row(page, run).locator(f"[col-id='{column}']")


def show_artifact(page: Page, served: Served, path: str) -> None:
    """Open an artifact of the sweep in MLflow's own viewer."""
    page.goto(re.sub(r"\?.*", f"/artifacts/{path}", latest(served)))
    expect(page.get_by_text(path.rpartition("/")[2]).first).to_be_visible()


def latest(served: Served) -> str:
    return served.links[f"latest sweep, {served.name}"]


def test_the_table_shows_a_sweep_with_its_best_score_and_unfolds_its_trials(
    served: Served, page: Page
) -> None:
    page.goto(served.links["sweeps and their trials"])
    metrics = served.sweep.data.metrics
    for name in ("best_val_accuracy", "official_test_accuracy", "trials", "epochs"):
        shown = cell(page, served.name, f"metrics.`{name}`")
        expect(shown).to_have_text(re.compile(r"^\s*\d"))
        assert float(shown.inner_text()) == pytest.approx(metrics[name], abs=1e-3)  # rounded

    row(page, served.name).locator("[col-id='attributes.`Run Name`'] button").first.click()

    for trial in served.trials:
        params = trial.data.params
        shown = cell(page, str(trial.info.run_name), "params.`model.parameters`")
        expect(shown).to_have_text(params["model.parameters"])
        shown = cell(page, str(trial.info.run_name), "metrics.`best_epoch`")
        expect(shown).to_have_text(f"{trial.data.metrics['best_epoch']:.0f}")
        shown = cell(page, str(trial.info.run_name), "params.`train.optimizer.learning_rate`")
        expect(shown).to_have_text(params["train.optimizer.learning_rate"])


def test_the_learning_curves_of_all_trials_stand_in_one_chart(served: Served, page: Page) -> None:
    page.goto(served.links["learning curves"])
    store = Store(served.folder)
    drawn = page.locator(".js-plotly-plot")
    expect(drawn).to_have_count(4)  # accuracy, loss, val_accuracy, val_loss
    epochs = sum(len(store.steps(trial, "val_accuracy")) for trial in served.trials)
    page.wait_for_function(POINTS_DRAWN, arg=epochs)

    curves = drawn.nth(2).evaluate("chart => chart.data.map(curve => [...(curve.y || [])])")

    logged = [[y for _, y in store.values(trial, "val_accuracy")] for trial in served.trials]
    assert all(curve in curves for curve in logged), (curves, logged)


def test_a_sweep_describes_itself(served: Served, page: Page) -> None:
    page.goto(latest(served))
    for heading in ("Leaderboard", "Command", "Searched"):
        expect(page.get_by_role("heading", name=heading)).to_be_attached()
    for text in (f"python -m fmnist_sweep +best={served.name}", "model.conv_blocks.count"):
        expect(page.get_by_text(text).first).to_be_attached()
    expect(page.get_by_text("synthetic-train").first).to_be_visible()


@pytest.mark.parametrize(
    ("path", "seen"), [("leaderboard.csv", "best_weights_sha256"), ("best.yaml", "schema_version")]
)
def test_an_artifact_opens(served: Served, page: Page, path: str, seen: str) -> None:
    show_artifact(page, served, path)
    expect(page.get_by_text(seen).first).to_be_visible()


@pytest.mark.parametrize("name", ["confidently_wrong", "best_by_trial"])
def test_a_picture_opens(served: Served, page: Page, name: str) -> None:
    show_artifact(page, served, f"pictures/{name}.png")
    # Its first request may come back empty-handed; what is to be seen is one that has been drawn.
    page.wait_for_function(
        "() => [...document.images].some(image => image.complete && image.naturalWidth > 500)"
    )


def test_the_report_opens_where_it_lies(served: Served, page: Page) -> None:
    show_artifact(page, served, "report.html")
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name=f"Sweep {served.name}")).to_be_visible()
    expect(report.get_by_alt_text("Most confident wrong predictions")).to_be_attached()


def test_the_report_opens_from_disk_and_asks_nothing_of_a_network(
    served: Served, page: Page
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    file = served.folder / "mlruns" / "reports" / served.name / "report.html"
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", name=f"Sweep {served.name}")).to_be_visible()
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    drawn = page.evaluate("() => [...document.images].map(image => image.naturalWidth)")
    assert len(drawn) == 13
    assert min(drawn) > 300
    for width in (1400, 390):
        page.set_viewport_size({"width": width, "height": 900})
        # Nothing sticks out: what is wide scrolls in a place of its own.
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
