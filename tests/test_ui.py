"""``bpexp ui`` serves on the loopback address only."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import served

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
