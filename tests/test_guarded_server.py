"""An MLflow server with users and passwords, below a path, behind a certificate of its own."""

import base64
import contextlib
import json
import re
import ssl
import subprocess
import urllib.request

import pytest
from servers import MlflowServer, Proxy, running

from bpexp.tracking import server_errors

pytestmark = pytest.mark.slow

ADMIN, PASSWORD = "admin", "correct-horse-battery"
READER, READERS_PASSWORD = "reader", "may-only-read-here"
PATH = "/tracking"
VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
             "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS",
             "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # fmt: skip


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate for 127.0.0.1 that nobody signed, and of its key."""
    folder = tmp_path_factory.mktemp("certificate")
    made = ["-keyout", folder / "key.pem", "-out", folder / "own.pem", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=bpexp", "-addext", "subjectAltName=IP:127.0.0.1", *made],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder / "own.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with an administrator and a user who may only read."""
    folder = tmp_path_factory.mktemp("server")
    # Without the cache, every request computes a hash of the password that is slow on purpose.
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {ADMIN}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n"
    )
    settings = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for a test",
    }
    options = ("--app-name", "basic-auth")
    with running(MlflowServer(folder, *options, path=PATH, **settings)) as server:
        user = json.dumps({"username": READER, "password": READERS_PASSWORD}).encode()
        who = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {who}"}
        address = f"{server.url}/api/2.0/mlflow/users/create"
        urllib.request.urlopen(urllib.request.Request(address, user, headers), timeout=60).close()
        yield server


@pytest.fixture(scope="module")
def encrypted(server, certificate):
    """The address of a proxy that encrypts, in front of the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with contextlib.closing(Proxy(server.port, context)) as proxy:
        yield f"{proxy.url}{PATH}"


@pytest.fixture
def environment(monkeypatch, certificate):
    """Sets the variables of the administrator, who knows the certificate, with some changes.

    ``own`` stands for the file of the certificate, None for no value.
    """

    def set_variables(**changes):
        right = {
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": "own",
            "BPEXP_RETRY_SECONDS": "5",
        }
        for name, value in {**dict.fromkeys(VARIABLES), **right, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(certificate[0]) if value == "own" else value)

    return set_variables


@pytest.fixture(scope="module")
def addresses(server, encrypted):
    """Right and wrong addresses of the server."""
    return {
        "right": encrypted,
        "with password": encrypted.replace("//", f"//{ADMIN}:{PASSWORD}@"),
        "wrong password": encrypted.replace("//", f"//{ADMIN}:wrong-battery@"),
        "plain": server.url,
        "without path": encrypted.removesuffix(PATH),
        "wrong path": f"{encrypted}s",
        "wrong host": encrypted.replace("127.0.0.1", "localhost"),
        "wrong scheme": server.url.replace("http:", "https:"),
    }


def test_runs_are_written_read_and_reproduced(environment, addresses, inside, monkeypatch):
    environment()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", addresses["right"])
    done = inside("-m", "lr=0.1,1", "epochs=20", "tracking.points=5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Review: open {addresses['right']}"
    for command, words in [
        ("runs", "3 of 3 runs"),
        ("show latest", "results.csv"),
        ("report latest", "report.html"),
        ("reproduce latest", "2 of 2 runs identical to the bit."),
        ("verify latest", "2 of 2 runs match their digests."),
        ("resume latest", "Best 2 of 2"),
    ]:
        done = inside(*command.split())
        assert (done.returncode, done.stderr) == (0, ""), command
        assert words in done.stdout, command


@pytest.mark.parametrize(
    ("address", "changes"),
    [
        ("plain", {"MLFLOW_TRACKING_SERVER_CERT_PATH": None}),
        ("with password", {"MLFLOW_TRACKING_USERNAME": None, "MLFLOW_TRACKING_PASSWORD": None}),
        ("right", {"MLFLOW_TRACKING_SERVER_CERT_PATH": None, "REQUESTS_CA_BUNDLE": "own"}),
        (
            "right",
            {"MLFLOW_TRACKING_SERVER_CERT_PATH": None, "MLFLOW_TRACKING_INSECURE_TLS": "true"},
        ),
    ],
)
def test_a_run_is_recorded_with_other_variables(environment, addresses, inside, address, changes):
    environment(**changes)
    uri = addresses[address]
    done = inside("epochs=5", f"tracking.uri={uri}", "tracking.experiment=others")
    assert (done.returncode, done.stderr) == (0, "")
    assert PASSWORD not in done.stdout
    done = inside("show", "latest", "--uri", uri, "--experiment", "others")
    assert (done.returncode, done.stderr) == (0, "")
    assert "weights.npz" in done.stdout
    assert PASSWORD not in done.stdout


USER = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"


@pytest.mark.parametrize(
    ("address", "changes", "said"),
    [
        ("right", {"MLFLOW_TRACKING_PASSWORD": "wrong-battery"}, USER),
        ("right", {"MLFLOW_TRACKING_PASSWORD": None}, USER),
        ("right", {"MLFLOW_TRACKING_USERNAME": None}, USER),
        ("wrong password", {}, USER),
        ("right", {CERTIFICATE: None}, f"set {CERTIFICATE} to the file"),
        ("right", {CERTIFICATE: "nowhere.pem"}, f"{CERTIFICATE} or REQUESTS_CA_BUNDLE must name"),
        ("right", {CERTIFICATE: __file__}, f"{CERTIFICATE} or REQUESTS_CA_BUNDLE must name"),
        ("right", {"MLFLOW_TRACKING_INSECURE_TLS": "true"}, f"only one of .* and {CERTIFICATE}"),
        ("without path", {}, "no MLflow server answers at this address"),
        ("wrong path", {}, "no MLflow server answers at this address"),
        ("wrong host", {}, "is for another host"),
        ("wrong scheme", {}, "its address begins with http://"),
    ],
)
def test_a_wrong_setting_is_said_in_one_sentence(
    environment, addresses, inside, address, changes, said
):
    environment(**changes)
    uri = addresses[address]
    for command in (["runs", "--uri", uri], ["-m", "seed=1,2", "epochs=5", f"tracking.uri={uri}"]):
        done = inside(*command)
        assert done.returncode in (1, 2)
        (sentence,) = done.stderr.splitlines()
        assert re.search(said, sentence)
        assert "battery" not in done.stdout + done.stderr


def test_a_user_without_the_permission_to_write_reads_the_runs(environment, addresses, inside):
    environment()
    uri = addresses["right"]
    arguments = ["epochs=5", f"tracking.uri={uri}", "tracking.experiment=of admin"]
    assert inside(*arguments).returncode == 0
    environment(MLFLOW_TRACKING_USERNAME=READER, MLFLOW_TRACKING_PASSWORD=READERS_PASSWORD)
    done = inside("runs", "--uri", uri, "--experiment", "of admin")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of 1 runs" in done.stdout
    done = inside(*arguments)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "the user lacks the permission" in sentence
    assert READERS_PASSWORD not in done.stdout + done.stderr


def test_a_page_in_place_of_an_answer_is_shown_without_its_markup():
    page = (
        "failed with error code 502. Response body: '<html><style>b {}</style><b>Bad\nGateway</b>'"
    )
    said = server_errors.without_markup(page)
    assert said == "failed with error code 502. Response body: ' Bad Gateway '"
    assert server_errors.advice(said) == ""
