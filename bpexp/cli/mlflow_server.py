"""Runs MLflow's command line in a process whose whole group ends with the process that started it.

    python -m bpexp.cli.mlflow_server PARENT ui --port 5000

``kill -9`` of ``bpexp ui`` would leave the server, which then keeps the port.
"""

import os
import runpy
import signal
import sys

from bpexp.interrupts import call_after_parent


def main() -> None:
    """Run MLflow with the arguments after the process id of the parent."""
    parent = int(sys.argv.pop(1))
    call_after_parent(parent, lambda: os.killpg(0, signal.SIGKILL))
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
