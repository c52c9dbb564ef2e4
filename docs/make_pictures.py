"""Creates the pictures of README and docs from a real sweep: `make pictures`, after `make sweep`.

`python docs/make_pictures.py [SWEEP]`, in the folder with its `mlruns/`; by default the latest
`cnn`
sweep. Its report and the report's pictures are written to `docs/cnn/`; screenshots of MLflow's UI
and
of the report in Chromium, and of the console during a `smoke` sweep, to `docs/pictures/`.
"""

from __future__ import annotations

import html
import io
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from terminal import InTerminal  # noqa: E402 - the tests' own pseudo-terminal

PICTURES, CNN = DOCS / "pictures", DOCS / "cnn"
COLUMNS, ROWS = 118, 22
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
CURVES_DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')].every(
    chart => chart.querySelectorAll('.point').length > 20)"""
PATIENCE = 120_000  # milliseconds
ANSI = {
    "default": "#d7dde4", "green": "#63c174", "cyan": "#4cc2d6", "red": "#e5534b",
    "brown": "#d9a441", "blue": "#6cb6ff", "magenta": "#c792ea", "white": "#ffffff",
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Create all pictures."""
    sweep = arguments[0] if arguments else latest_sweep()
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser_path is None:
        sys.exit("make_pictures: needs Chromium (on Debian: apt-get install chromium)")
    PICTURES.mkdir(exist_ok=True)
    report = Path("mlruns/reports") / sweep / "report.html"
    shutil.rmtree(CNN, ignore_errors=True)
    shutil.copytree(report.parent / "pictures", CNN)
    # Its package's version stays; a commit may be gone when the history is rewritten.
    page = re.sub(r"<dt>git</dt><dd>.*</dd>\n", "", report.read_text(encoding="utf-8"))
    (CNN / "report.html").write_text(page, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=QUIET)
        photograph_report(browser, report)
        photograph_ui(browser, sweep)
        photograph_console(browser)
        browser.close()


def latest_sweep() -> str:
    """Return the name of the `cnn` sweep with the newest report."""
    reports = sorted(
        Path("mlruns/reports").glob("cnn-*/report.html"), key=lambda path: path.stat().st_mtime
    )
    if not reports:
        sys.exit("make_pictures: no report of a cnn sweep in mlruns/reports; run make sweep")
    return reports[-1].parent.name


def photograph_report(browser: Browser, report: Path) -> None:
    """Take screenshots of the top of the report, and of its pictures of the winner."""
    page = browser.new_page(viewport={"width": 1300, "height": 1250})
    page.goto(report.resolve().as_uri())
    keep("report.png", page.screenshot())
    page.close()


def photograph_ui(browser: Browser, sweep: str) -> None:
    """Take screenshots of MLflow's table with the sweep expanded, and of the learning curves."""
    with ui() as links:
        page = browser.new_page(viewport={"width": 1500, "height": 640})
        page.set_default_timeout(PATIENCE)
        page.goto(links["sweeps and their trials"])
        unfold = page.locator("[role=row]").filter(has=page.get_by_role("link", name=sweep))
        unfold.locator("[col-id='attributes.`Run Name`'] button").first.click()
        page.get_by_role("link", name=f"{sweep}-0", exact=True).wait_for()
        keep("ui_table.png", undisturbed(page))
        page.set_viewport_size({"width": 1500, "height": 900})
        page.goto(links["learning curves"])
        page.locator(".js-plotly-plot").nth(3).wait_for()
        page.wait_for_function(CURVES_DRAWN)
        keep("ui_curves.png", undisturbed(page))
        page.close()


def undisturbed(page: Page) -> bytes:
    """Return a screenshot of a page of MLflow without the banners of a first visit."""
    assistant = page.locator("button[aria-label='Close']")
    if assistant.count():
        assistant.last.click()
    for banner in page.get_by_role("button", name="Hide banner").all():
        banner.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(2000)  # for animations, whose end cannot be detected
    return page.screenshot()


@contextmanager
def ui() -> Iterator[dict[str, str]]:
    """Serve the UI; yields the links that it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep", "ui", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            links = {}
            for line in server.stdout:
                what, _, link = line.strip().rpartition("  ")
                links[what.strip()] = link
                if what.strip().startswith("latest sweep"):
                    break
            while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                time.sleep(0.3)
            yield links
        finally:
            server.terminate()


def photograph_console(browser: Browser) -> None:
    """Take a screenshot of the console in the middle of a `smoke` sweep."""
    with tempfile.TemporaryDirectory() as folder:
        ran = InTerminal(Path(folder), "+sweep=smoke", columns=COLUMNS)
    screen = pyte.Screen(COLUMNS, ROWS)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.Stream(screen)
    chosen = ""
    for frame in re.split(r"(?=\r\x1b\[2K)", ran.written):
        stream.feed(frame)
        # In a trial after the first, some way into its training.
        if "epoch 2 of 1-3" in "\n".join(screen.display):
            chosen = as_html(screen)
    if not chosen:
        sys.exit("make_pictures: the display never showed the wanted state")
    page = browser.new_page(viewport={"width": 1100, "height": 500}, device_scale_factor=1.5)
    page.set_content(
        "<style>body{margin:0;background:#15191e}pre{margin:0;padding:18px 22px;width:max-content;"
        "font:14px/1.35 'DejaVu Sans Mono',monospace;color:#d7dde4}</style>"
        f"<pre>{chosen}</pre>"
    )
    keep("console.png", page.locator("pre").screenshot())
    page.close()


def as_html(screen: pyte.Screen) -> str:
    """Return a terminal's content as HTML, with its colours."""
    lines = []
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        line = "".join(
            f'<span style="color:{ANSI.get(cell.fg, ANSI["default"])};'
            f'{"font-weight:bold" if cell.bold else ""}">{html.escape(cell.data)}</span>'
            for cell in cells
        )
        lines.append((line, "".join(cell.data for cell in cells).strip()))
    while lines and not lines[-1][1]:
        lines.pop()
    return "\n".join(line for line, _ in lines)


def keep(name: str, png: bytes) -> None:
    """Write a picture with a palette, a third of the size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(200, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)
    print(f"docs/pictures/{name}")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main(sys.argv[1:])
