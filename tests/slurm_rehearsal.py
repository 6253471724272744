"""Rehearses sweeps on a Slurm cluster of two nodes on this machine, with failures; by hand.

    python tests/slurm_rehearsal.py [drain] [power] [cancel]

Needs root, and Debian's packages slurmctld, slurmd, slurm-client and munge. Submits the batch
script of docs/how-to/cluster.md with a sweep of 10,000 runs for each failure (``FAILURES``), and
compares the digests of all runs with those of the same sweep trained without a cluster.

Everything runs in namespaces of its own: the only network is loopback, and all daemons end with
the script, however it ends.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from sweeping import clean_environment, results
from test_docs import ROOT, blocks

SWEEP = ["-m", "seed=range(0,2500)", "lr=0.1,0.3,1,3", "epochs=100"]
RUNS = 10_000
NODES = ("node1", "node2")
SECONDS = 900
"""How long a job or a command may take."""
NAMESPACES = ["unshare", "--net", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
INSIDE = "BPEXP_SLURM_REHEARSAL"
"""Environment variable of the process in the namespaces."""
CONFIGURATION = """
ClusterName=rehearsal
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17003 CPUs=1 RealMemory=4000
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17004 CPUs=1 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""
"""Two nodes of one core on one machine, without control groups and accounting."""


def batch_script() -> str:
    """The batch script that the documentation shows."""
    page = (ROOT / "docs/how-to/cluster.md").read_text()
    (script,) = [b.body for b in blocks(page) if b.notes.get("file") == "sweep.sbatch"]
    return script


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when ``condition()`` is true; raise TimeoutError after ``SECONDS``."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


class Cluster:
    """A Slurm cluster of two nodes, whose files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = clean_environment() | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()

    def start(self) -> None:
        """Start all daemons and wait for the nodes."""
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        files |= {"log-file": "log"}
        options = [f"--{option}={self.folder}/munge.{end}" for option, end in files.items()]
        self._start("munged", "--foreground", "--force", *options)
        wait_until((self.folder / "munge.socket").exists, "munged did not start")
        self._start("slurmctld", "-D")
        for node in NODES:
            self._start("slurmd", "-D", "-N", node, name=node)
        wait_until(lambda: self.run("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2,
                   "the nodes did not start")  # fmt: skip

    def _start(self, *command: str, name: str = "") -> None:
        name = name or command[0]
        with open(self.folder / f"{name}.out", "wb") as out:
            self._daemons[name] = subprocess.Popen(
                command, stdout=out, stderr=out, env=self.environment, start_new_session=True
            )

    def stop(self) -> None:
        """End all daemons, the last one first."""
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(30)

    def run(self, *command: str) -> str:
        """The output of a command of Slurm; empty if it failed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def submit(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Submit the batch script; the process ends with the job and its exit status."""
        script = folder / "sweep.sbatch"
        script.write_text(batch_script())
        command = ["sbatch", "--wait", "--ntasks=2", "--nodes=2", "--time=30", script, *arguments]
        return subprocess.Popen(command, cwd=folder, env=self.environment, text=True)

    def processes(self, node: str) -> list[psutil.Process]:
        """The daemon of a node and the processes of jobs there."""
        found = [psutil.Process(self._daemons[node].pid)]
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURMD_NODENAME") == node:
                    found.append(process)
                    parent = process.parent()
                    if parent and parent.name().startswith("slurmstepd"):
                        found.append(parent)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """A running ``Cluster``."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def stored(folder: Path) -> int:
    """The number of finished runs in the store of a folder."""
    try:
        with sqlite3.connect(f"file:{folder}/outputs/mlflow.db?mode=ro", uri=True) as store:
            (n,) = store.execute("SELECT COUNT(*) FROM runs WHERE status='FINISHED'").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(n)


def parent_run(folder: Path) -> str:
    """The id of the only sweep in the store of a folder."""
    with sqlite3.connect(f"file:{folder}/outputs/mlflow.db?mode=ro", uri=True) as store:
        query = "SELECT DISTINCT value FROM tags WHERE key = 'mlflow.parentRunId'"
        ((parent,),) = store.execute(query).fetchall()
    return str(parent)


def drain(cluster: Cluster, folder: Path, job: subprocess.Popen[str]) -> int:
    """Drain the second node, then set it down: its workers end, the job goes on."""
    for state in ("DRAIN", "DOWN"):
        cluster.run("scontrol", "update", "NodeName=node2", f"State={state}", "Reason=rehearsal")
    wait_until(lambda: len(cluster.processes("node2")) == 1, "the workers were not ended")
    assert job.poll() is None, "the sweep ended before its node did"
    assert cluster.run("squeue", "-h", "-o", "%N %T") == "node1 RUNNING\n"
    return job.wait(SECONDS)


def power(cluster: Cluster, folder: Path, job: subprocess.Popen[str]) -> int:
    """End all processes of the second node by SIGKILL, as a power failure does."""
    victims = cluster.processes("node2")
    assert any("dask" in " ".join(victim.cmdline()) for victim in victims)
    for victim in victims:
        victim.kill()
    assert job.poll() is None, "the sweep ended before its node did"
    return job.wait(SECONDS)


def cancel(cluster: Cluster, folder: Path, job: subprocess.Popen[str]) -> int:
    """Cancel the job, which ends it as a time limit does, and resume the sweep in another."""
    cluster.run("scancel", "--name=bpexp")
    job.wait(SECONDS)
    assert not (set(folder.glob("dask-*"))), "the job did not remove its keys"
    kept = stored(folder)
    assert kept < RUNS, "the sweep ended before its job"
    print(f"  {kept} runs were kept", flush=True)
    return cluster.submit(folder, "resume", parent_run(folder)).wait(SECONDS)


FAILURES = {"drain": drain, "power": power, "cancel": cancel}


def rehearse(names: Sequence[str], folder: Path) -> None:
    """Train the sweep here and once for each failure; raise AssertionError if they differ."""
    socket.sethostname("localhost")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # The C library opens no sockets for listening while 127.0.0.1 is the only address.
    subprocess.run(["ip", "address", "add", "127.0.0.2/8", "dev", "lo"], check=True)
    start = time.monotonic()
    (folder / "local").mkdir()
    command = [sys.executable, "-m", "bpexp", *SWEEP]
    subprocess.run(command, cwd=folder / "local", check=True, stdout=subprocess.DEVNULL)
    expected = results(folder / "local")
    assert len(expected) == RUNS
    print(f"local: {RUNS} runs in {time.monotonic() - start:.0f} s", flush=True)
    for name in names:
        start = time.monotonic()
        (folder / name).mkdir()
        with slurm_cluster(folder / f"{name}-slurm") as cluster:
            job = cluster.submit(folder / name, *SWEEP, "backend=dask")
            while (n := stored(folder / name)) < RUNS // 10:
                assert job.poll() is None, "the sweep ended before its node did"
                assert time.monotonic() - start < SECONDS, "too few runs were stored"
                time.sleep(0.05)
            print(f"{name}: after {n} runs", flush=True)
            status = FAILURES[name](cluster, folder / name, job)
        assert status == 0, f"the job ended with status {status}"
        seconds = time.monotonic() - start
        assert results(folder / name) == expected, "the digests differ"
        print(f"  {RUNS} runs with the digests of the local sweep in {seconds:.0f} s", flush=True)


def main() -> None:
    """Rehearse the failures given on the command line, by default all."""
    names = sys.argv[1:] or list(FAILURES)
    if unknown := set(names) - set(FAILURES):
        sys.exit(f"a failure must be one of {', '.join(FAILURES)}, got {min(unknown)}")
    if INSIDE not in os.environ:
        # bash, as the first process of the namespace, collects the processes that end.
        shell = ["bash", "-c", '"$@"; exit $?', "bash", sys.executable, __file__, *names]
        os.execvpe(NAMESPACES[0], [*NAMESPACES, *shell], os.environ | {INSIDE: "1"})
    folder = Path(tempfile.mkdtemp(prefix="bpexp-slurm-"))
    folder.chmod(0o755)
    try:
        rehearse(names, folder)
    except BaseException:
        print(f"The logs are in {folder}.", file=sys.stderr)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
