"""Artifacts in a storage (S3) that is away: its errors are those of a store."""

import contextlib
import re
import subprocess
import sys

import pytest
from servers import free_port
from sweeping import Halted, run_resume_command, run_to_end, runs_of, wait_until

from bpexp.tracking.retry import (
    ArtifactStoreError,
    RetryPolicy,
    TrackingError,
    artifact_store_errors,
)
from bpexp.tracking.store import connect, locate

SWEEP = ["-m", "hidden=2,3,4", "seed=range(0,4)", "epochs=300", "engine=numpy", "n_jobs=1"]


class EndpointConnectionError(ConnectionError):
    """Has the name and the base class, by name, of boto3's."""


class ClientError(Exception):
    """Like boto3's: the response is a mapping."""

    def __init__(self, status):
        super().__init__(f"An error occurred ({status})")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def raising(error, failures):
    """A function that raises errors of a library, and then succeeds."""

    def upload():
        with artifact_store_errors():
            if failures:
                failures.pop()
                raise error
        return "stored"

    return upload


@pytest.mark.parametrize(
    "error", [EndpointConnectionError("no answer"), ClientError(503), TimeoutError("slow")]
)
def test_a_storage_that_does_not_answer_is_tried_again(error):
    policy = RetryPolicy(seconds=60, sleep=lambda seconds: None)
    assert policy.call(raising(error, [1, 2])) == "stored"
    with pytest.raises(TrackingError, match=r"could not be used after 0.1 s"):
        RetryPolicy(seconds=0.1).call(raising(error, [1] * 100))


@pytest.mark.parametrize("error", [ClientError(403), ValueError("wrong bucket"), KeyError("x")])
def test_what_a_storage_refuses_is_reported_at_once(error):
    failures = [1, 2]
    with pytest.raises(TrackingError, match="The store refused"):
        RetryPolicy(seconds=60).call(raising(error, failures))
    assert failures == [1]
    with pytest.raises(ArtifactStoreError):
        raising(error, [1])()


@contextlib.contextmanager
def storage(port):
    """S3, as far as moto has it, with an empty bucket."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip

    def is_ready():
        with contextlib.suppress(Exception):
            return client.create_bucket(Bucket="runs")

    try:
        wait_until(is_ready, server)
        yield
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def on_s3(tmp_path, monkeypatch):
    """The port of a storage, which the experiment bpexp in ``tmp_path`` uses."""
    port = free_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = connect(locate(None, tmp_path, {}))
    client.create_experiment("bpexp", artifact_location="s3://runs/bpexp")
    # The helpers of the tests leave out variables of MLflow.
    return port, {"MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}", "BPEXP_RETRY_SECONDS": "1"}


@pytest.mark.long
def test_a_sweep_whose_storage_is_away_at_its_start_is_resumed(on_s3, tmp_path):
    port, environment = on_s3
    status, message = run_to_end(tmp_path, *SWEEP, **environment)
    assert status == 1
    assert re.search(r"The store could not be used after 1 s: .*; to go on: bpexp resume", message)
    with storage(port):
        assert run_resume_command(tmp_path, message, **environment) == (0, "")
        assert {run.status for run in runs_of(tmp_path)} == {"FINISHED"}
        assert len(runs_of(tmp_path)) == 13


@pytest.mark.long
def test_runs_are_spooled_if_the_storage_goes_away(on_s3, tmp_path):
    port, environment = on_s3
    with storage(port):
        sweep = Halted(tmp_path, *SWEEP, **environment)
    status, message = sweep.continue_to_end()
    assert status == 1
    assert re.search(
        r"An artifact could not be written: The store could not be used after 1 s: .*"
        r" of 12 runs are tracked; \d+ wait in outputs/spool/\w+; to go on: bpexp resume",
        message,
    )
    assert list(tmp_path.glob("outputs/spool/*/*.npz"))
