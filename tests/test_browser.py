"""MLflow's web interface shows finished sweeps, in a headless browser."""

import shutil
import struct
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from read_back import client_of
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from servers import served

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium and chromedriver are not installed",
    ),
]

TIMEOUT = 300
"""Seconds for one page. MLflow loads 5 MB of scripts, which takes 2 s on an idle machine and took
120 s on a busy one."""

SWEEPS = {
    3: ["lr=0.01,0.1,1", "epochs=300"],
    300: ["lr=0.5,1,2", "hidden=2,4", "seed=range(0,50)", "model.init_low=-1", "epochs=40"],
    3000: ["lr=0.5,1,2", "hidden=2,4", "seed=range(0,500)", "model.init_low=-1", "epochs=40"],
}


class Pages:
    """A browser that measures how long pages take, and saves a picture when a wait fails."""

    def __init__(self, driver, folder):
        self.driver, self.folder, self.seconds = driver, folder, {}

    @contextmanager
    def timed(self, what):
        began = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - began

    def until(self, condition, what):
        """Return the first true ``condition(driver)``; elements that MLflow redraws are retried."""
        wait = WebDriverWait(self.driver, TIMEOUT, 0.2, ignored_exceptions=[WebDriverException])
        try:
            return wait.until(condition)
        except TimeoutException:
            self.picture("failed")
            pytest.fail(f"{what} not on {self.driver.current_url}, which shows: {self.text()}")

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def shows(self, *texts):
        self.until(lambda driver: all(text in self.text() for text in texts), texts)

    def click(self, xpath):
        self.until(lambda driver: driver.find_element(By.XPATH, xpath).click() or True, xpath)

    def draws(self, css):
        """Wait for elements and return them."""
        return self.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, css), css)

    def picture(self, name):
        self.driver.save_screenshot(str(self.folder / f"{name}.png"))


@pytest.fixture
def pages(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1600,1200", f"user-data-dir={tmp_path}/browser",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield Pages(driver, tmp_path)
    driver.quit()


@pytest.mark.parametrize("runs", SWEEPS)
def test_mlflows_pages_show_a_sweep_and_its_report(runs, bpexp, pages, tmp_path, pytestconfig):
    assert bpexp("-m", *SWEEPS[runs]).returncode == 0
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`bpexp.kind` = 'sweep'")
    compared = first_page_of(client, experiment)[:3]
    with pages.timed("`report` writes it"):
        reported = bpexp("report", parent.info.run_id)
    assert reported.returncode == 0, reported.stderr
    answer = reported.stdout.splitlines()[1]

    with served(tmp_path) as address:
        server = address.partition("/#/")[0]

        def at(place):
            return f"{server}/#/experiments/{experiment}/{place}?workflowType=machine_learning"

        check_first_page(pages, address)
        check_nested_table(pages, at("runs"), parent, runs)
        check_comparison(pages, [run.info.run_name for run in compared])
        check_charts(pages, address)
        check_groups(pages, configurations(client, experiment))
        run, sweep = f"runs/{compared[0].info.run_id}", f"runs/{parent.info.run_id}"
        with pages.timed("a run's loss"):
            pages.driver.get(at(f"{run}/model-metrics"))
            pages.shows("loss", "final_loss")
            pages.draws(".js-plotly-plot .scatterlayer path")
        with pages.timed("the note with the answer"):
            pages.driver.get(at(sweep))
            check_answer_is_visible(pages, answer)
        check_artifacts(pages, at(f"{sweep}/artifacts"), client, parent, answer)
    write_times(pytestconfig.getoption("pages"), runs, pages.seconds)


def first_page_of(client, experiment, order="attributes.start_time DESC"):
    """Return the child runs among the first 100 runs in an order, which MLflow loads first."""
    order = [order, "attributes.run_id ASC"]
    runs = client.search_runs([experiment], order_by=order, max_results=100)
    return [run for run in runs if run.data.tags.get("bpexp.kind") != "sweep"]


def configurations(client, experiment):
    """Return the learning rates and hidden layers of the 100 best runs, as tracked."""
    runs = first_page_of(client, experiment, "metrics.final_loss ASC")
    return {(run.data.params["lr"], run.data.params["hidden"]) for run in runs}


def check_first_page(pages, address):
    """Check that the address shows the runs of the sweep, and not the sweep alone, unasked."""
    with pages.timed("first page"):
        pages.driver.get(address)
        pages.shows("Model metrics", "final_loss", "lr=", "Sort: final_loss")
    pages.picture("first")
    # MLflow keeps what was shown; the next check begins as in a new browser.
    pages.driver.execute_script("localStorage.clear()")


def check_nested_table(pages, address, parent, runs):
    row = f"//a[contains(., '{parent.info.run_name[:12]}')]"
    row += "/ancestor::*[contains(@class, 'ag-cell-value')]"
    with pages.timed("table of runs"):
        pages.driver.get(address)
        # "Model registry" is on the pages for model training only. MLflow loads 100 runs at a time.
        more = "4 matching runs" if runs == 3 else "Load more"
        pages.shows("Model registry", parent.info.run_name[:12], "matching runs")
    close_assistant(pages)
    assert pages.driver.find_elements(By.XPATH, "//a[contains(., 'lr=')]") == []
    with pages.timed("children below it"):
        pages.click(f"{row}//button")
        pages.shows(more, "lr=0.1" if runs == 3 else "lr=0.5")
    children = pages.draws("a[href*='/runs/']")
    assert len(children) >= (4 if runs == 3 else 20)
    assert parent.info.run_name[:12] in children[0].text
    pages.picture("runs")


def close_assistant(pages):
    """Close MLflow's chat panel, which covers a quarter of the window."""
    close = "//button[@data-component-id='mlflow.assistant.chat_panel.close']"
    pages.click(close)
    pages.until(lambda driver: not driver.find_elements(By.XPATH, close), "no panel")


def check_groups(pages, found):
    """Group the runs by two settings and check the rows and the lines of the chart."""
    with pages.timed("grouped by two settings"):
        for key in ("lr", "hidden"):
            pages.click("//button[contains(., 'Group by')]")
            pages.click(f"//*[@role='menuitemcheckbox' and normalize-space()='{key}']")
            pages.shows("Group by: lr")
        pages.shows(*(f"Group: lr: {lr}, hidden: {hidden}" for lr, hidden in found))
        pages.until(lambda driver: lines_of_loss(pages) == len(found), "a line for each group")
    pages.picture("groups")


def check_comparison(pages, names):
    """Select child runs in the table, compare them and check the comparison."""
    for name in names:
        row = f"//*[@role='row'][.//a[normalize-space()='{name}']]"
        row_id = pages.until(
            lambda driver, row=row: driver.find_element(By.XPATH, row).get_attribute("row-id"), name
        )
        pages.click(f"//*[@row-id='{row_id}']//*[contains(@class, 'ag-checkbox-input-wrapper')]")
    with pages.timed("comparison of three"):
        pages.click("//button[normalize-space()='Compare']")
        pages.shows("Comparing 3 Runs", *names)
        pages.draws(".js-plotly-plot path")
    pages.picture("comparison")


def lines_of_loss(pages):
    """Return the number of different lines in the loss chart; MLflow draws each line twice."""
    chart = "//*[normalize-space(text())='loss']/ancestor::*[.//*[contains(@class, 'plotly')]][1]"
    # A group has a band beside its line.
    line = "//*[contains(@class, 'trace')][not(contains(@class, 'band'))]//*[@class='js-line']"
    lines = pages.driver.find_elements(By.XPATH, chart + line)
    return len({line.get_attribute("d") for line in lines})


def check_charts(pages, address):
    """Check that the chart of the loss has a line for each run; MLflow draws ten at most."""
    with pages.timed("charts of the runs"):
        pages.driver.get(address)
        pages.driver.refresh()
        pages.shows("Model metrics", "final_loss", "lr=")
        pages.until(lambda driver: lines_of_loss(pages) >= 3, "a line of loss for each run")
    pages.picture("charts")


def check_answer_is_visible(pages, answer):
    """Check that the start of the answer is visible without scrolling.

    With MLflow's chat panel open, the names of long child runs fill the page above it.
    """
    close_assistant(pages)
    start = answer[:40]
    inmost = f'//*[contains(., "{start}")][not(*[contains(., "{start}")])]'

    def in_view(driver):
        return driver.execute_script(
            "const box = arguments[0].getBoundingClientRect();"
            "const shown = document.elementFromPoint(box.x + 20, box.y + 8);"
            "return shown !== null && (shown === arguments[0] || arguments[0].contains(shown))",
            driver.find_element(By.XPATH, inmost),
        )

    pages.until(in_view, f"{start!r} in view")
    pages.picture("note")


def check_artifacts(pages, address, client, parent, answer):
    driver = pages.driver
    with pages.timed("artifacts"):
        driver.get(address)
        pages.shows("results.csv", "results.parquet", "summary.png", "report.html", "figures")
    with pages.timed("summary figure"):
        pages.click("//*[text()='summary.png']")
        check_image(pages, client, parent, "summary.png")
    with pages.timed("a figure of the report"):
        pages.click("//*[text()='figures']")
        pages.click("//*[text()='loss_curves.png']")
        check_image(pages, client, parent, "figures/loss_curves.png")
    pages.picture("artifacts")
    with pages.timed("table of the ranking"):
        pages.click("//*[text()='ranking.json']")
        pages.shows("View as table", "not_converged", "converged_share")
    with pages.timed("table of predictions"):
        pages.click("//*[text()='predictions.json']")
        pages.shows("View as table", "rank", "sample", "target", "prediction", "[0,1]")
    with pages.timed("the report's page"):
        pages.click("//*[text()='report.html']")
        pages.until(lambda d: d.switch_to.frame(d.find_element(By.TAG_NAME, "iframe")) or True,
                    "the frame of the page")  # fmt: skip
        pages.shows(answer)
        pages.until(lambda d: d.execute_script(
            "const all = [...document.images];"
            "return all.length > 2 && all.every(i => i.complete && i.naturalWidth > 0)"
        ), "the page's figures")  # fmt: skip
    driver.switch_to.default_content()
    pages.picture("report")


def check_image(pages, client, parent, name):
    content = Path(client.download_artifacts(parent.info.run_id, name)).read_bytes()
    size = struct.unpack(">II", content[16:24])

    def drawn(driver):
        images = driver.find_elements(By.CSS_SELECTOR, "img[src^='blob:']")
        return size in [
            (i.get_property("naturalWidth"), i.get_property("naturalHeight")) for i in images
        ]

    pages.until(drawn, f"{name} drawn")


TITLE = """# MLflow's pages on a sweep of 3, 300 and 3,000 runs

Waiting times that `tests/test_browser.py --pages` measured in a headless Chromium, with browser and
server on the same two processors. MLflow loads 100 runs at a time, whatever the size of the sweep.
`report` on 30,000 runs takes 23 s of processor time and 640 MB for six groups of 5,000 seeds, and
32 s and 510 MB for 3,000 groups of ten. Its page is 1 MB and has the first 100 groups.
"""


def write_times(file, runs, seconds):
    """Add a column to the table of times in ``file``; the smallest sweep starts the table."""
    if file is None:
        return
    path, column = Path(file), [f"{runs} runs", "---:", *(f"{s:.1f}" for s in seconds.values())]
    if runs == min(SWEEPS):
        rows = ["| seconds until shown", "| ---", *(f"| {what}" for what in seconds)]
    else:
        rows = [line[:-2] for line in path.read_text().splitlines() if line.startswith("|")]
    lines = [f"{row} | {cell} |" for row, cell in zip(rows, column, strict=True)]
    path.write_text("\n".join([TITLE, *lines, ""]))
