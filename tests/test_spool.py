"""Spooled runs are read back unchanged; damaged and malicious files are rejected."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bpexp.fields.checks import ConfigError
from bpexp.runs import record_digests
from bpexp.tracking import spool
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord

SWEEP = "0123456789abcdef" * 2
RUN = RunRecord(
    name="Ähre 穂",
    status="FINISHED",
    started=1_700_000_000_000,
    ended=1_700_000_001_000,
    params={"lr": "0.1"},
    tags={"bpexp.outcome": "completed", "empty": ""},
    metrics=[
        MetricPoint("loss", 0.1 + 0.2, 1),
        MetricPoint("loss", math.inf, 2),
        MetricPoint("low", -0.0, 2),
    ],
    artifacts={"a.npz": bytes(range(256)), "empty.txt": b"", "穂.csv": "🌾".encode()},
    dataset=DatasetInput("xor", "0" * 32, "{}", "{}", "{}"),
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_are_read_back_bit_identical_and_in_order():
    plain = replace(RUN, dataset=None, metrics=[], artifacts={})
    first = spool.write(SWEEP, [RUN, plain])
    second = spool.write(SWEEP, [plain])
    assert spool.files(SWEEP) == [first, second]
    assert spool.read(first) == [RUN, plain]
    assert spool.read(second) == [plain]
    assert math.copysign(1, spool.read(first)[0].metrics[2].value) == -1


def test_no_file_or_folder_is_left_after_all_files_are_removed(tmp_path):
    files = [spool.write(SWEEP, [RUN]) for _ in range(2)]
    for file in files:
        spool.remove(file)
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [".gitignore"]
    assert (tmp_path / "outputs" / ".gitignore").read_text() == "*\n"


def test_a_failed_write_leaves_no_file(tmp_path):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "spool").write_text("a file instead of a folder")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        spool.write(SWEEP, [RUN])
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["spool"]


def arrays(file):
    with np.load(file, allow_pickle=False) as content:
        return {key: content[key] for key in content.files}


@pytest.mark.parametrize(
    "change",
    [
        {"0/../../../outside": np.zeros(1, np.uint8)},
        {"0/..": np.zeros(1, np.uint8)},
        {"7/a.npz": np.zeros(1, np.uint8)},
        {"runs": np.frombuffer(b"[{}]", np.uint8)},
        {"runs": np.frombuffer(b"{", np.uint8)},
        {"runs": np.frombuffer(b"[" * 100_000, np.uint8)},
        {"0/a.npz": np.array([print], object)},
    ],
)
def test_a_manipulated_file_is_reported_in_one_sentence(change):
    file = spool.write(SWEEP, [RUN])
    np.savez(file, **{**arrays(file), **change})
    with pytest.raises(ConfigError, match=r"^outputs/spool/.* is damaged; delete it to train"):
        spool.read(file)


def test_a_truncated_file_is_reported_in_one_sentence():
    file = spool.write(SWEEP, [RUN])
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(ConfigError, match="is damaged"):
            spool.read(file)


def test_a_sweep_id_that_is_a_path_is_rejected():
    with pytest.raises(ConfigError, match=r"got '\.\./x'"):
        spool.write("../x", [RUN])


@pytest.mark.parametrize("name", ["0/a.npz", "runs"])
def test_an_altered_file_or_metric_is_noticed_by_its_digest(name):
    tags = {"bpexp.result": "1", "bpexp.config": "{}"}
    tags["bpexp.digests"] = record_digests.as_tag(
        record_digests.of_run(tags, {"a.npz": b"12"}, {"final_loss": 0.5})
    )
    metrics = [MetricPoint("loss", 0.25, 1), MetricPoint("final_loss", 0.5, 0)]
    run = replace(RUN, tags=tags, metrics=metrics, artifacts={"a.npz": b"12"})
    file = spool.write(SWEEP, [run])
    assert spool.read(file) == [run]
    content = arrays(file)
    altered = content[name].tobytes().replace(b"12", b"13").replace(b"final_", b"other_")
    np.savez(file, **{**content, name: np.frombuffer(altered, np.uint8)})
    with pytest.raises(ConfigError, match="is damaged; delete it to train"):
        spool.read(file)
