"""MLflow's pages on a finished sweep, in a real headless browser."""

import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.long

chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="did not run: chromium and chromedriver are not installed on this machine",
)


@pytest.fixture
def page(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1600,1200", f"user-data-dir={tmp_path}/browser",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@pytest.fixture
def ui(bpexp, tmp_path):
    """The address that ``bpexp ui`` prints, on a finished sweep; the server is ended after."""
    assert bpexp("-m", "lr=0.01,0.1,1", "epochs=300").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(port)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process.stdout.readline().split()[0]
        process.send_signal(signal.SIGTERM)
        # Reads until nobody holds the pipes: a server left behind would be a timeout.
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, said


@chromium
def test_runs_chart_and_artifacts_are_there(ui, page, tmp_path):
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    runs = client.search_runs([experiment])
    (best,) = [r for r in runs if r.info.run_name == "lr=1"]
    (parent,) = [r for r in runs if r.data.tags.get("bpexp.kind") == "sweep"]
    server = ui.partition("/#/")[0]

    # MLflow's pages take long to load on a busy machine, and redraw what was found in them.
    wait = WebDriverWait(page, 90, ignored_exceptions=[WebDriverException])

    def shows(*texts):
        def all_there(driver):
            body = driver.find_element(By.TAG_NAME, "body").text
            return all(text in body for text in texts)

        wait.until(all_there, f"{texts} not on {page.current_url}")

    def is_open(driver):
        driver.get(ui)
        return "MLflow" in driver.title

    def click(driver, xpath):
        driver.find_element(By.XPATH, xpath).click()
        return True

    wait.until(is_open)
    # The pages for model training, which have this heading, and the children folded away.
    shows("sweep lr, 3 runs", "4 matching runs", "Model registry")
    row = "//a[contains(., 'sweep lr')]/ancestor::*[contains(@class, 'ag-cell-value')]"
    wait.until(lambda driver: click(driver, f"{row}//button"))
    shows("lr=0.01", "lr=0.1", "lr=1")
    page.save_screenshot(str(tmp_path / "runs.png"))

    page.get(f"{server}/#/experiments/{experiment}/runs/{best.info.run_id}/model-metrics")
    shows("loss", "final_loss")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .scatterlayer path"))
    page.save_screenshot(str(tmp_path / "metrics.png"))

    page.get(f"{server}/#/experiments/{experiment}/runs/{parent.info.run_id}/artifacts")
    shows("results.csv", "results.parquet", "summary.png")
    wait.until(lambda driver: click(driver, "//*[text()='summary.png']"))
    figure = struct.unpack(">II", artifact(client, parent, "summary.png")[16:24])

    def drawn(driver):
        images = driver.find_elements(By.CSS_SELECTOR, "img[src^='blob:']")
        sizes = [(i.get_property("naturalWidth"), i.get_property("naturalHeight")) for i in images]
        return figure in sizes

    wait.until(drawn, "summary.png is not drawn")
    page.save_screenshot(str(tmp_path / "artifacts.png"))


def artifact(client, run, name):
    return Path(client.download_artifacts(run.info.run_id, name)).read_bytes()
