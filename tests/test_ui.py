"""``bpexp ui`` serves on the loopback address only, and no longer than the program runs."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psutil import Process
from servers import free_port, served
from sweeping import command_of, next_line, start_in_session, wait_until

pytestmark = pytest.mark.long

LISTENS, LOOPBACK = "0A", "0100007F"


def listeners(port):
    """Return the local addresses, in the kernel's notation, that listen on a port."""
    lines = [line.split() for name in ("tcp", "tcp6")
             for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]  # fmt: skip
    sockets = [line[1].split(":") for line in lines if line[3] == LISTENS]
    return [address for address, number in sockets if int(number, 16) == port]


def test_ui_listens_only_on_loopback(bpexp, tmp_path):
    assert bpexp("epochs=5").returncode == 0
    with served(tmp_path) as address:
        assert listeners(urlsplit(address).port) == [LOOPBACK]


def test_no_server_outlives_a_killed_program(bpexp, tmp_path):
    assert bpexp("epochs=5").returncode == 0
    port = free_port()
    process = start_in_session(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(port)], cwd=tmp_path,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert next_line(process, process.stdout) == "Starting MLflow's web interface ...\n"
    assert next_line(process, process.stdout).startswith("Open ")
    process.kill()
    process.communicate()
    wait_until(lambda: not listeners(port), seconds=30)


def test_no_command_line_shows_the_address_of_the_store(bpexp, tmp_path, monkeypatch):
    # Every user of the machine can read command lines, and the address may hold a password.
    uri = f"sqlite:///{tmp_path}/hunter2.db"
    assert bpexp("epochs=5", f"tracking.uri={uri}").returncode == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    process = start_in_session(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(free_port())], cwd=tmp_path,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    next_line(process, process.stdout)
    assert next_line(process, process.stdout).startswith("Open ")
    servers = Process(process.pid).children(recursive=True)
    assert servers
    assert not [one for one in servers if "hunter2" in command_of(one.pid)]
    process.terminate()
    process.communicate()
