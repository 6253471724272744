"""The plan, configuration and environment of a sweep are checked before they are used."""

import gzip
from contextlib import chdir
from pathlib import Path

import pytest

import bpexp
from bpexp.sweeps import plan_file
from bpexp.sweeps.parent_files import ParentFiles
from bpexp.sweeps.sweep_integrity import file_problems
from bpexp.tracking.archive import open_archive
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.reading import FINISHED

SETTINGS = ["lr=0.1,1", "epochs=4", "engine=numpy", "n_jobs=1"]


@pytest.fixture(scope="module")
def original(put_store, tmp_path_factory):
    """A folder with a sweep of two runs."""
    folder = tmp_path_factory.mktemp("original")
    put_store(folder)
    with chdir(folder):
        bpexp.sweep(*SETTINGS)
    return folder


@pytest.fixture
def archive(original, copy_store, inside):
    """The sweep in the working directory."""
    return open_archive(copy_store(original), "bpexp")


@pytest.fixture
def sweep(archive):
    return next(run for run in archive.search() if run.is_sweep)


def artifact(sweep, name):
    return Path("outputs", "artifacts", sweep.run_id, "artifacts", name)


def edit(file):
    """Change one setting, as a person with an editor would."""
    content = file.read_bytes()
    if file.suffix == ".gz":
        text = gzip.decompress(content).replace(b'"n_jobs": 1', b'"n_jobs": 2')
        file.write_bytes(gzip.compress(text))
    else:
        file.write_bytes(content.replace(b"1", b"2", 1))
    assert file.read_bytes() != content


def truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def empty(file):
    file.write_bytes(b"")


ALTERATIONS = [edit, truncate, empty, Path.unlink]


@pytest.mark.slow
@pytest.mark.parametrize("alter", ALTERATIONS)
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("plan.jsonl.gz", "start the sweep again with reuse=true"),
        ("config.yaml", "type bpexp resume {} to go on without it"),
        ("environment.json", "type bpexp resume {} to go on without it"),
        ("results.csv", "bpexp resume {} writes it again"),
    ],
)
def test_an_altered_file_is_named_and_not_bundled(inside, sweep, alter, name, advice):
    alter(artifact(sweep, name))
    done = inside("verify", sweep.run_id)
    assert done.returncode == 1
    line, summary = done.stdout.splitlines()
    assert line.startswith(f"altered: {sweep.label}: ")
    assert name in line
    assert advice.format(sweep.short_id) in line
    says_delete = alter is not Path.unlink and "without it" in advice
    assert ("delete it" in line) == says_delete
    assert summary == "2 of 2 runs match their digests; 1 sweep altered."
    done = inside("bundle", sweep.run_id, "-o", "sweep.zip")
    assert (done.returncode, name in done.stderr) == (2, True)
    assert not Path("sweep.zip").exists()


@pytest.mark.parametrize("alter", [edit, truncate])
def test_an_altered_plan_is_not_used(inside, archive, sweep, alter):
    alter(artifact(sweep, plan_file.NAME))
    said = f"plan.jsonl.gz of {sweep.label} was altered: it does not match its digest; "
    for command in (["resume"], ["resume", "--dry-run"], ["extend", "seed=3"]):
        done = inside(command[0], sweep.run_id, *command[1:])
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"bpexp: {said}")
    done = inside("reproduce", sweep.run_id)
    assert done.returncode == 1
    altered, identical = done.stdout.splitlines()
    assert identical == "2 of 2 runs identical to the bit; 1 sweep altered."
    assert altered.startswith(f"altered: {sweep.label}: plan.jsonl.gz was altered")
    assert archive.get(sweep.run_id).status == "FINISHED"
    done = inside("-m", *SETTINGS, "reuse=true")
    assert done.returncode == 0, done.stderr
    assert len(archive.search(FINISHED)) == 2


@pytest.mark.parametrize("lose", [empty, Path.unlink])
def test_a_lost_plan_is_composed_again_if_its_digest_matches(inside, archive, sweep, lose):
    file = artifact(sweep, plan_file.NAME)
    before = file.read_bytes()
    lose(file)
    assert inside("resume", sweep.run_id).returncode == 0
    assert file.read_bytes() == before
    assert inside("verify", sweep.run_id).returncode == 0
    tracker = open_tracker(archive.store, "bpexp")
    tracker.update_run(sweep.run_id, {"bpexp.overrides": "lr=0.2,2 epochs=4 n_jobs=1"})
    lose(file)
    done = inside("resume", sweep.run_id)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has stored no plan; start a new sweep with reuse=true" in done.stderr


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
def test_an_altered_environment_is_not_shown(inside, archive, sweep, name):
    (first, second) = archive.search(FINISHED)
    shown = {run: inside("show", run).stdout for run in (sweep.run_id, first.run_id)}
    edit(artifact(sweep, name))
    for run in [sweep.run_id] if name == "config.yaml" else shown:
        done = inside("show", run)
        assert done.returncode == 0
        assert done.stderr.startswith(f"bpexp: Not shown: {name} of {sweep.label} was altered")
        assert done.stderr.count("\n") == 1
        # The other sections are shown.
        lines = [line for line in shown[run].splitlines() if line not in done.stdout.splitlines()]
        assert lines
        said = ("configuration of", "  ") if name == "config.yaml" else "  "
        assert all(line.startswith(said) for line in lines), lines
    if name == "environment.json":
        done = inside("compare", first.run_id, second.run_id)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name} of {sweep.label} was altered" in done.stderr
    # As the message advises.
    artifact(sweep, name).unlink()
    assert inside("show", sweep.run_id).returncode == 0
    assert inside("verify", sweep.run_id).returncode == 1
    assert inside("resume", sweep.run_id).returncode == 0
    assert inside("verify", sweep.run_id).returncode == 0


def test_an_extended_sweep_has_the_digest_of_its_new_plan(inside, archive, sweep):
    before = artifact(sweep, plan_file.NAME).read_bytes()
    assert inside("extend", sweep.run_id, "seed=5").returncode == 0
    assert inside("verify", sweep.run_id).stdout == "4 of 4 runs match their digests.\n"
    artifact(sweep, plan_file.NAME).write_bytes(before)
    assert "plan.jsonl.gz was altered" in inside("verify", sweep.run_id).stdout


def test_each_generation_of_a_search_has_the_digest_of_its_plan(inside, a_store):
    search = ["search=random", "search.trials=4", "search.generation=2", "epochs=2"]
    assert inside("-m", "lr=interval(0.1,1)", *search).returncode == 0
    assert inside("verify", "latest").returncode == 0
    assert "4 of 4 trials proposed again." in inside("reproduce", "latest").stdout


class Killed(BaseException):
    """Raised where the process is killed."""


@pytest.mark.parametrize("is_written", [False, True])
def test_a_process_that_is_killed_while_it_replaces_a_file_alters_nothing(
    archive, sweep, is_written, monkeypatch
):
    tracker = open_tracker(archive.store, "bpexp")
    original = type(tracker).add_files

    def killed(*arguments):
        if is_written:
            original(*arguments)
        raise Killed

    files = ParentFiles.of_stored(tracker, sweep, archive)
    for content in (b"first", b"second"):
        with monkeypatch.context() as patch:
            patch.setattr(type(tracker), "add_files", killed)
            with pytest.raises(Killed):
                files.write({plan_file.NAME: content})
        sweep = archive.get(sweep.run_id)
        assert file_problems(sweep, archive) == []
        files = ParentFiles.of_stored(tracker, sweep, archive)
    files.write({plan_file.NAME: b"third"})
    assert file_problems(archive.get(sweep.run_id), archive) == []
    artifact(sweep, plan_file.NAME).write_bytes(b"second")
    assert len(file_problems(archive.get(sweep.run_id), archive)) == 1


def test_a_file_that_is_replaced_while_it_is_read_is_not_altered(archive, sweep):
    ParentFiles.of_stored(open_tracker(archive.store, "bpexp"), sweep, archive).write(
        {plan_file.NAME: b"new"}
    )
    # The run was read before.
    assert file_problems(sweep, archive) == []


def test_no_digest_depends_on_how_a_sweep_ended(archive, sweep):
    tracker = open_tracker(archive.store, "bpexp")
    # As that of a sweep whose process died when it was resumed.
    tracker.update_run(sweep.run_id, {"bpexp.outcome": "interrupted"})
    assert file_problems(archive.get(sweep.run_id), archive) == []
    assert bpexp.report("latest").answer


def test_altered_tables_say_what_to_type_and_do_not_end_reproduce(inside, sweep):
    truncate(artifact(sweep, "results.csv"))
    done = inside("reproduce", sweep.run_id)
    assert (done.returncode, done.stderr) == (1, "")
    altered, identical = done.stdout.splitlines()
    assert "results.csv was altered" in altered
    assert identical == "2 of 2 runs identical to the bit; 1 sweep altered."
    truncate(artifact(sweep, "results.parquet"))
    done = inside("report", sweep.run_id)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"bpexp resume {sweep.short_id} writes it again" in done.stderr
    assert inside("resume", sweep.run_id).returncode == 0
    assert inside("verify", sweep.run_id).returncode == 0
