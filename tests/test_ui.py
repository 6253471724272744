"""The pages on a store are for this machine alone."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

LISTENS, LOOPBACK = "0A", "0100007F"


def listeners(port):
    """Local addresses, as the kernel writes them, that listen on the port."""
    lines = [line.split() for name in ("tcp", "tcp6")
             for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]  # fmt: skip
    places = [line[1].split(":") for line in lines if line[3] == LISTENS]
    return [address for address, number in places if int(number, 16) == port]


def test_ui_listens_on_loopback_alone(bpexp, tmp_path):
    assert bpexp("epochs=5").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "bpexp", "ui", "--port", str(port)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        address = process.stdout.readline().split()[0].partition("/#/")[0]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{address}/health") as answer:
                assert answer.status == 200
                break
        assert address == f"http://127.0.0.1:{port}"
        assert listeners(port) == [LOOPBACK]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
