"""MLflow's pages on finished sweeps, in a real headless browser."""

import shutil
import struct
import time
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from servers import served

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="did not run: chromium and chromedriver are not installed on this machine",
    ),
]

PATIENCE = 300
"""Seconds. MLflow's pages are 5 MB of scripts: 2 s on an idle machine, and 120 s were seen where
the browser had a fortieth of a processor."""

SWEEPS = {
    3: ["lr=0.01,0.1,1", "epochs=300"],
    300: ["lr=0.5,1,2", "hidden=2,4", "seed=range(0,50)", "model.init_low=-1", "epochs=40"],
    3000: ["lr=0.5,1,2", "hidden=2,4", "seed=range(0,500)", "model.init_low=-1", "epochs=40"],
}


class Pages:
    """A browser that knows how long each thing took to be there, and shows what was instead."""

    def __init__(self, driver, folder):
        self.driver, self.folder, self.took = driver, folder, {}

    @contextmanager
    def timed(self, what):
        began = time.monotonic()
        yield
        self.took[what] = time.monotonic() - began

    def until(self, condition, what):
        """The first true ``condition(driver)``; what MLflow redraws meanwhile is looked up anew."""
        wait = WebDriverWait(self.driver, PATIENCE, 0.2, ignored_exceptions=[WebDriverException])
        try:
            return wait.until(condition)
        except TimeoutException:
            self.picture("failed")
            pytest.fail(f"{what} not on {self.driver.current_url}, which says: {self.text()}")

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def shows(self, *texts):
        self.until(lambda driver: all(text in self.text() for text in texts), texts)

    def click(self, xpath):
        self.until(lambda driver: driver.find_element(By.XPATH, xpath).click() or True, xpath)

    def draws(self, css):
        """The elements, once there are some."""
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
def test_a_sweep_is_reviewed_in_mlflows_pages(runs, bpexp, pages, tmp_path, pytestconfig):
    assert bpexp("-m", *SWEEPS[runs]).returncode == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`bpexp.kind` = 'sweep'")
    some = at_hand(client, experiment)[:3]
    with pages.timed("`report` has written it"):
        reported = bpexp("report", parent.info.run_id)
    assert reported.returncode == 0, reported.stderr
    answer = reported.stdout.splitlines()[1]

    with served(tmp_path) as address:
        server = address.partition("/#/")[0]

        def at(place):
            return f"{server}/#/experiments/{experiment}/{place}?workflowType=machine_learning"

        the_table_nests_its_children(pages, address, parent, runs)
        children_are_compared(pages, [one.info.run_name for one in some])
        charts_draw(pages, address)
        groups_form(pages, configurations(client, experiment))
        run, sweep = f"runs/{some[0].info.run_id}", f"runs/{parent.info.run_id}"
        with pages.timed("a run's loss"):
            pages.driver.get(at(f"{run}/model-metrics"))
            pages.shows("loss", "final_loss")
            pages.draws(".js-plotly-plot .scatterlayer path")
        with pages.timed("the note with the answer"):
            pages.driver.get(at(sweep))
            the_answer_is_in_view(pages, answer)
        the_artifacts_open(pages, at(f"{sweep}/artifacts"), client, parent, answer)
    write_down(pytestconfig.getoption("pages"), runs, pages.took)


def at_hand(client, experiment):
    """The runs that MLflow loads at first: the newest 100, the sweep's parent among them."""
    order = ["attributes.start_time DESC", "attributes.run_id ASC"]
    runs = client.search_runs([experiment], order_by=order, max_results=100)
    return [run for run in runs if run.data.tags.get("bpexp.kind") != "sweep"]


def configurations(client, experiment):
    """Of those: learning rate and hidden layers, as they are written there."""
    runs = at_hand(client, experiment)
    return {(run.data.params["lr"], run.data.params["hidden"]) for run in runs}


def the_table_nests_its_children(pages, address, parent, runs):
    row = f"//a[contains(., '{parent.info.run_name[:12]}')]"
    row += "/ancestor::*[contains(@class, 'ag-cell-value')]"
    with pages.timed("table of runs"):
        pages.driver.get(address)
        # The pages for model training have this heading; MLflow brings 100 runs at a time.
        at_hand = "4 matching runs" if runs == 3 else "Load more"
        pages.shows("Model registry", parent.info.run_name[:12], "matching runs")
    the_assistant_is_put_away(pages)
    assert pages.driver.find_elements(By.XPATH, "//a[contains(., 'lr=')]") == []
    with pages.timed("children below it"):
        pages.click(f"{row}//button")
        pages.shows(at_hand, "lr=0.1" if runs == 3 else "lr=0.5")
    children = pages.draws("a[href*='/runs/']")
    assert len(children) >= (4 if runs == 3 else 20)
    assert parent.info.run_name[:12] in children[0].text
    pages.picture("runs")


def the_assistant_is_put_away(pages):
    """MLflow's own panel takes a quarter of the window, and what is said of runs slides down."""
    close = "//button[@data-component-id='mlflow.assistant.chat_panel.close']"
    pages.click(close)
    pages.until(lambda driver: not driver.find_elements(By.XPATH, close), "no panel")


def groups_form(pages, found):
    """By two settings; the runs of the table go below their group, and the chart has its line."""
    with pages.timed("grouped by two settings"):
        for key in ("lr", "hidden"):
            pages.click("//button[contains(., 'Group by')]")
            pages.click(f"//*[@role='menuitemcheckbox' and normalize-space()='{key}']")
            pages.shows("Group by: lr")
        pages.shows(*(f"Group: lr: {lr}, hidden: {hidden}" for lr, hidden in found))
        pages.until(lambda driver: lines_of_loss(pages) == len(found), "a line for each group")
    pages.picture("groups")


def children_are_compared(pages, names):
    """Ticked in the table, where they are unfolded below their sweep."""
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
    """How many different lines the chart has that is headed loss; MLflow draws each twice."""
    chart = "//*[normalize-space(text())='loss']/ancestor::*[.//*[contains(@class, 'plotly')]][1]"
    # Beside its lines a group has a band.
    line = "//*[contains(@class, 'trace')][not(contains(@class, 'band'))]//*[@class='js-line']"
    lines = pages.driver.find_elements(By.XPATH, chart + line)
    return len({line.get_attribute("d") for line in lines})


def charts_draw(pages, address):
    """In the chart of the loss runs have a line each, though not more than ten of them."""
    with pages.timed("charts of the runs"):
        pages.driver.get(f"{address}&compareRunsMode=CHART")
        pages.driver.refresh()
        pages.shows("Model metrics", "final_loss", "lr=")
        pages.until(lambda driver: lines_of_loss(pages) >= 3, "a line of loss for each run")
    pages.picture("charts")


def the_answer_is_in_view(pages, answer):
    """Without a click: the beginning of it lies inside the window and is not folded away."""
    start = answer[:40]
    inmost = f'//*[contains(., "{start}")][not(*[contains(., "{start}")])]'

    def in_view(driver):
        return driver.execute_script(
            "const box = arguments[0].getBoundingClientRect();"
            "const there = document.elementFromPoint(box.x + 20, box.y + 8);"
            "return there !== null && (there === arguments[0] || arguments[0].contains(there))",
            driver.find_element(By.XPATH, inmost),
        )

    pages.until(in_view, f"{start!r} in view")
    pages.picture("note")


def the_artifacts_open(pages, address, client, parent, answer):
    driver = pages.driver
    with pages.timed("artifacts"):
        driver.get(address)
        pages.shows("results.csv", "results.parquet", "summary.png", "report.html", "figures")
    with pages.timed("summary figure"):
        pages.click("//*[text()='summary.png']")
        an_image_is_drawn(pages, client, parent, "summary.png")
    with pages.timed("a figure of the report"):
        pages.click("//*[text()='figures']")
        pages.click("//*[text()='loss_curves.png']")
        an_image_is_drawn(pages, client, parent, "figures/loss_curves.png")
    pages.picture("artifacts")
    with pages.timed("table of the ranking"):
        pages.click("//*[text()='ranking.json']")
        pages.shows("View as table", "not_converged", "converged_share")
    with pages.timed("table of predictions"):
        pages.click("//*[text()='predictions.json']")
        pages.shows("View as table", "place", "target", "prediction", "[0,1]")
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


def an_image_is_drawn(pages, client, parent, name):
    content = Path(client.download_artifacts(parent.info.run_id, name)).read_bytes()
    size = struct.unpack(">II", content[16:24])

    def drawn(driver):
        images = driver.find_elements(By.CSS_SELECTOR, "img[src^='blob:']")
        return size in [
            (i.get_property("naturalWidth"), i.get_property("naturalHeight")) for i in images
        ]

    pages.until(drawn, f"{name} drawn")


TITLE = """# MLflow's pages on a sweep of 3, 300 and 3,000 runs

How long `tests/test_browser.py --pages` waited for each, in a headless Chromium on two processors,
browser and server on one machine. MLflow loads 100 runs at a time, whatever the sweep's size.
`report` of 30,000 runs takes 23 s of a processor and 640 MB where they are six groups of 5,000
seeds, 32 s and 510 MB where they are 3,000 groups of ten; its page is 1 MB and has the first 100
groups.
"""


def write_down(file, runs, took):
    """A column of the table of times, where one was asked for; the smallest sweep begins it."""
    if file is None:
        return
    path, column = Path(file), [f"{runs} runs", "---:", *(f"{s:.1f}" for s in took.values())]
    if runs == min(SWEEPS):
        rows = ["| seconds until there", "| ---", *(f"| {what}" for what in took)]
    else:
        rows = [line[:-2] for line in path.read_text().splitlines() if line.startswith("|")]
    lines = [f"{row} | {cell} |" for row, cell in zip(rows, column, strict=True)]
    path.write_text("\n".join([TITLE, *lines, ""]))
