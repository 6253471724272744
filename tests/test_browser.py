"""MLflow's pages on a finished sweep, in a real headless browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

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
    assert bpexp("-m", "lr=0.01,0.1,1", "epochs=300").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(port)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@chromium
def test_runs_chart_and_artifacts_are_there(ui, page, tmp_path):
    import mlflow

    def reached(driver):
        driver.get(ui)
        return "MLflow" in driver.title

    wait = WebDriverWait(page, 90, ignored_exceptions=[Exception])
    wait.until(reached)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    runs = client.search_runs([experiment])
    (best,) = [r for r in runs if r.info.run_name == "lr=1"]
    (parent,) = [r for r in runs if r.data.tags.get("bpexp.kind") == "sweep"]

    def shows(*texts):
        def all_there(driver):
            body = driver.find_element(By.TAG_NAME, "body").text
            return all(text in body for text in texts)

        wait.until(all_there, f"{texts} not on {page.current_url}")

    page.get(f"{ui}/#/experiments/{experiment}/runs")
    shows("sweep lr, 3 runs", "4 matching runs")  # the children are folded under it
    page.save_screenshot(str(tmp_path / "runs.png"))
    page.get(f"{ui}/#/experiments/{experiment}/runs/{best.info.run_id}/model-metrics")
    shows("loss", "final_loss")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .scatterlayer path"))
    page.save_screenshot(str(tmp_path / "metrics.png"))
    page.get(f"{ui}/#/experiments/{experiment}/runs/{parent.info.run_id}/artifacts")
    shows("results.csv", "results.parquet", "summary.png")
    page.save_screenshot(str(tmp_path / "artifacts.png"))
