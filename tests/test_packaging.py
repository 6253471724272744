"""The wheel is complete and works outside the checkout; every dependency is declared."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from email.parser import Parser
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import version_bounds
from read_back import client_of
from sweeping import clean_environment

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Run Python with bpexp from the wheel and its dependencies from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    # The backend that pip calls.
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, check=True, cwd=CHECKOUT, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    options = ["--no-deps", "--no-compile", "--target", site]
    subprocess.run([*pip, *options, wheel], check=True, cwd=folder)

    def python(cwd, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd, env=clean_environment() | {"PYTHONPATH": str(site)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    python.site = site
    return python


@pytest.mark.slow
def test_the_installed_wheel_is_imported_instead_of_the_checkout(installed, tmp_path):
    done = installed(tmp_path, "-c", "import bpexp, hydra_plugins.bpexp as p; print(bpexp, p)")
    assert done.stdout.count(str(installed.site)) == 2, done.stdout + done.stderr
    assert (installed.site / "bpexp" / "py.typed").is_file()
    shipped = installed.site / "bpexp" / "conf"
    ours = CHECKOUT / "conf"
    assert {p.relative_to(shipped) for p in shipped.rglob("*.yaml")} == {
        p.relative_to(ours) for p in ours.rglob("*.yaml")
    }


def git(folder, *arguments):
    """The output of a git command in a folder."""
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", folder, *author, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_a_sweep_records_the_git_commit_and_leaves_the_repository_clean(installed, tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "notes.txt").write_text("before\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    done = installed(tmp_path, "-m", "bpexp", "-m", "epochs=5,6", "data=parity")
    assert done.returncode == 0, done.stderr
    assert "2 runs over epochs (2 values)" in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {".git", "notes.txt", "outputs"}
    assert git(tmp_path, "status", "--porcelain") == ""
    (tmp_path / "notes.txt").write_text("after\n")
    assert installed(tmp_path, "-m", "bpexp", "epochs=5").returncode == 0

    client = client_of(tmp_path)
    found = client.get_experiment_by_name("bpexp")
    changed, *clean = client.search_runs([found.experiment_id])
    assert len(clean) == 3
    commit = git(tmp_path, "rev-parse", "HEAD")
    for run in (changed, *clean):
        tags = run.data.tags
        assert (tags["mlflow.source.git.commit"], tags["bpexp.git.commit"]) == (commit, commit)
        for package in ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib"):
            assert tags[f"bpexp.version.{package}"] == version(package)
        assert tags["bpexp.processor"].strip()
    assert changed.data.tags["bpexp.git.dirty"] == "true"
    for run in clean:
        assert run.data.tags["bpexp.git.dirty"] == "false"
        assert "git.diff" not in {f.path for f in client.list_artifacts(run.info.run_id)}
    diff = Path(client.download_artifacts(changed.info.run_id, "git.diff")).read_text()
    assert "\n-before\n+after" in diff


def test_the_wheel_contains_the_help_and_the_script(installed, tmp_path):
    done = installed(tmp_path, "-m", "bpexp", "--help")
    assert done.returncode == 0, done.stderr
    assert "breast_cancer" in done.stdout
    by_script = installed(tmp_path, str(installed.site / "bin" / "bpexp"), "--help")
    assert by_script.stdout == done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_metadata_of_the_wheel_is_complete(installed):
    (folder,) = installed.site.glob("bpexp-*.dist-info")
    metadata = Parser().parsestr((folder / "METADATA").read_text())
    assert metadata["Author"] == "bpexp developers"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# bpexp\n")
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    urls = {entry.split(", ")[0] for entry in metadata.get_all("Project-URL")}
    assert urls == {"Documentation", "Source", "Changelog", "Issues"}


def normalized(name):
    """The name of a distribution in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.slow
def test_every_imported_package_is_a_declared_dependency():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = ("dask", "onnx", "postgresql", "search")
    required = [*project["dependencies"], *itertools.chain(*(extras[name] for name in names))]
    declared = {normalized(re.match(r"[\w.-]+", text)[0]) for text in required}
    imported = set()
    for folder in ("bpexp", "hydra_plugins"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "bpexp", "hydra_plugins"}
    providers = packages_distributions()
    undeclared = {
        module
        for module in imported
        if not declared & {normalized(name) for name in providers[module]}
    }
    assert not undeclared


def test_every_declared_dependency_has_a_lower_bound_and_a_tested_version():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    tested = {normalized(line.split("==")[0]) for line in lines}
    for extra, texts in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for text in texts:
            name = normalized(re.match(r"[\w.-]+", text)[0])
            if name == "bpexp" or name.endswith("-stubs") or name.startswith("types-"):
                continue
            assert ">=" in text, (extra, text)
            assert name in tested, (extra, text)


def numbers(text):
    """The numbers of a version, without zeros at its end, for comparisons."""
    found = [int(number) for number in re.match(r"[\d.]+", text)[0].strip(".").split(".")]
    while found and found[-1] == 0:
        found.pop()
    return found


def test_the_tested_versions_are_those_that_are_allowed():
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = {normalized(name): text for name, text in (line.split("==") for line in lines)}
    page = (CHECKOUT / "docs/explanation/reliability.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
    bounds = version_bounds.lower_bounds()
    assert [name for name, _, _ in rows] == sorted(bounds, key=str.lower)
    for name, oldest, newest in rows:
        assert numbers(oldest) == numbers(bounds[name]), name
        assert numbers(oldest) <= numbers(pinned[normalized(name)]) <= numbers(newest), name


def test_every_dependency_of_the_package_has_a_bound_in_the_script():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in version_bounds.EXTRAS]
    required = [*project["dependencies"], *itertools.chain(*extras)]
    names = [re.match(r"[\w.-]+", text)[0] for text in required]
    assert list(version_bounds.lower_bounds()) == names


@pytest.mark.parametrize("name", version_bounds.LEFT_OUT)
def test_the_tests_that_the_script_leaves_out_exist(name):
    file, _, test = name.partition("::")
    start = test.partition("[")[0]
    assert re.search(rf"^(def|class) {start}", (CHECKOUT / file).read_text(), re.M)
