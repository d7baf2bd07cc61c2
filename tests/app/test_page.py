"""The page in a browser: headless Chromium of the system, driven by Playwright."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE_MS = 120_000
Server = namedtuple("Server", "url process folder")


def hear_signals():
    """In a new process: Ctrl-C stops it, even where a shell that started these tests ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(run_folder, folder, **environment):
    """Start `hemai app` in a process of its own, whose temporary files lie in `folder`."""
    arguments = [sys.executable, "-m", "hemai", "app", str(run_folder), "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(folder), **environment}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=hear_signals)
    for line in process.stdout:
        if found := re.search(r"ready: (http\S+)", line):
            return Server(found.group(1), process, folder)
    raise AssertionError(f"hemai app ended with {process.wait()}")


@pytest.fixture(scope="module")
def server(run_folder, tmp_path_factory):
    running = start(run_folder, tmp_path_factory.mktemp("temporary"))
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield started
        started.close()


@pytest.fixture
def visit(browser, server):
    """Open the page as a new user."""
    contexts = []

    def open_page(locale="en-GB", url=server.url):
        contexts.append(browser.new_context(locale=locale, viewport={"width": 1280, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(url)
        page.wait_for_selector("#zone .drop")
        return page

    yield open_page
    for context in contexts:
        context.close()


def drop(page, *files):
    page.set_input_files("#zone input[type=file]", [str(file) for file in files])
    page.wait_for_selector("#results .list")
    page.wait_for_selector("#stop", state="hidden")


def files_below(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def test_an_image_is_answered_with_class_probability_pictures_and_table(visit, cells, server):
    page = visit()
    assert "Not a medical device" in page.inner_text("#header")
    drop(page, cells[0])
    assert page.locator("#results li").count() == 1
    assert re.search(r"\d+\.\d\s%", page.inner_text("#results li"))
    page.wait_for_selector("#details .views img >> nth=0")
    assert page.locator("#details .views img").count() >= 5
    with page.expect_download() as download:
        page.click("#results .download")
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith("path,cell,")
    assert files_below(server.folder) == []


def test_nothing_is_asked_of_another_server_and_no_image_has_an_address(visit, cells):
    page = visit()
    drop(page, *cells[:2])
    for url in page.requested:
        assert url.startswith(("http://127.0.0.1:", "data:", "blob:")), url
        assert "/file=" not in url and "/upload" not in url


def test_a_wrong_file_among_others_is_told_and_they_are_answered(visit, cells, tmp_path):
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7")
    page = visit()
    drop(page, cells[0], tmp_path / "scan.pdf", cells[1])
    assert page.locator("#results .bar").count() == 2
    assert "scan.pdf: A PDF, not an image" in page.inner_text("#results [role=alert]")


def test_a_smear_is_shown_with_numbered_cells_that_can_be_chosen(visit, smear, tmp_path):
    (tmp_path / "smear.png").write_bytes(smear)
    page = visit()
    drop(page, tmp_path / "smear.png")
    assert page.locator("#results li").count() == 6
    assert page.locator("#details svg text").all_text_contents() == ["1", "2", "3", "4", "5", "6"]
    page.click("#details g[data-item='4']")
    page.wait_for_selector("#details h2:has-text('cell 5')")
    assert page.get_attribute("#results [data-item='4']", "aria-current") == "true"
    page.click("text=One image")
    page.wait_for_selector("#results li:nth-child(6)", state="detached")
    page.wait_for_selector("#results .bar")
    assert page.locator("#results li").count() == 1


def test_the_page_speaks_french_to_a_french_browser_and_can_be_switched(visit, cells):
    page = visit("fr-FR")
    page.wait_for_selector("text=Déposez des images ici")
    drop(page, cells[0])
    assert "réponses" in page.inner_text("#results")
    page.click("#language >> text=English")
    page.wait_for_selector("text=Drop images here")
    page.wait_for_selector("#results >> text=1 answers")
    assert page.evaluate("document.documentElement.lang") == "en"


def test_two_users_see_only_their_own_images_also_of_the_same_file(visit, cells, tmp_path):
    for name in ("of_one", "of_other"):
        shutil.copy(cells[0], tmp_path / f"{name}.bmp")
    one, other = visit(), visit()
    drop(one, cells[1], tmp_path / "of_one.bmp")
    drop(other, cells[1], tmp_path / "of_other.bmp")
    one.click("#results li:nth-child(2) button")
    one.wait_for_selector("#details h2:has-text('of_one')")
    assert "of_other" not in one.content() and "of_one" not in other.content()
    newcomer = visit()
    assert newcomer.locator("#results li").count() == 0


def test_many_images_are_answered_while_another_user_is_served(visit, cells, tmp_path):
    many = [tmp_path / f"{number:03}.png" for number in range(150)]
    image = cv2.imread(str(cells[0]))
    for file in many:
        cv2.imwrite(str(file), image)
    one, other = visit(), visit()
    one.set_input_files("#zone input[type=file]", [str(file) for file in many])
    one.wait_for_selector("#status progress")
    drop(other, cells[1])
    assert other.locator("#results li").count() == 1
    one.wait_for_selector("#results .list")
    assert one.locator("#results li").count() == 150


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_on_disk_after_a_signal(run_folder, cells, visit, tmp_path, number):
    running = start(run_folder, tmp_path)
    page = visit(url=running.url)
    drop(page, cells[0])
    running.process.send_signal(number)
    try:
        assert running.process.wait(timeout=60) == 0
    finally:
        running.process.kill()
    assert list(tmp_path.iterdir()) == []


def test_others_must_know_the_password(run_folder, browser, tmp_path):
    running = start(run_folder, tmp_path, HEMAI_APP_PASSWORD="long enough")
    try:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(running.url)
        page.wait_for_selector("input[type=password]")
        assert page.locator("#zone").count() == 0
        page.fill("input >> nth=0", "hemai")
        page.fill("input[type=password]", "long enough")
        page.click("button")
        page.wait_for_selector("#zone .drop")
        page.close()
    finally:
        running.process.kill()
        running.process.wait()


def test_the_first_answer_comes_within_seconds(run_folder, visit, cells, tmp_path):
    running = start(run_folder, tmp_path)
    page = visit(url=running.url)
    begun = time.monotonic()
    drop(page, cells[0])
    seconds = time.monotonic() - begun
    running.process.kill()
    running.process.wait()
    assert seconds < 20  # about 0.5 s on a machine that does nothing else; speed is not tested here


def test_a_phone_shows_the_page_without_scrolling_sideways(visit, smear, tmp_path):
    (tmp_path / "smear.png").write_bytes(smear)
    page = visit()
    page.set_viewport_size({"width": 390, "height": 844})
    drop(page, tmp_path / "smear.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    heights = page.eval_on_selector_all("#results button", "rows => rows.map(row => row.offsetHeight)")
    assert np.min(heights) >= 44  # px that a finger needs
