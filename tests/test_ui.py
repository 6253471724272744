"""``bpexp ui`` serves on the loopback address only, and no longer than the program runs."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import free_port, served
from sweeping import next_line, start_in_session, wait_until

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
