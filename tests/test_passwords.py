"""Passwords of stores are neither shown nor stored, whatever characters they hold."""

import os
import subprocess

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from bpexp.config.compose import compose_settings
from bpexp.fields import passwords
from bpexp.fields.checks import ConfigError
from bpexp.runs import environment
from bpexp.sweeps import plan_file, provenance
from bpexp.sweeps.plan import make_plan
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import locate

SECRET = "s3cret w0rd"
ADDRESSES = [
    f"postgresql://me:{SECRET}@host/db",
    f"postgresql+psycopg://me@work:{SECRET}@host:5432/db",
    f"http://me@work:{SECRET}@host/path",
    f"postgresql://me:a@b@{SECRET}@host/db",
    f"postgresql://me:/'\"{SECRET}@host/db",
    f"postgresql://me@host/db?password={SECRET}",
    f"postgresql://host/db?timeout=3&PASSWORD={SECRET}&user=me",
    f"mysql://host/db?sslpassword={SECRET}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_masked(address, tmp_path):
    shown = locate(address, tmp_path, {}).shown
    for part in SECRET.split():
        assert part not in shown
    assert "***" in shown
    assert shown.startswith(address.partition("://")[0])


@given(
    st.text(st.characters(exclude_characters=":/", exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), min_size=8),
)
def test_what_sqlalchemy_reads_as_the_password_is_masked(user, password):
    address = f"postgresql://{user}:{password}@host/db"
    assert sqlalchemy.make_url("postgresql://me:x@host/db").password == "x"
    assert passwords.mask(address).partition("***")[2] == "@host/db"
    assert passwords.mask(address) == f"postgresql://{user}:***@host/db"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_sweep_stores_no_password(address):
    plan = make_plan(
        [compose_settings({"tracking": {"uri": address}})], [f"tracking.uri={address}", "lr=1"]
    )
    tags = provenance.tags(plan)
    stored = provenance.sweep_files(plan)["config.yaml"].decode() + tags["bpexp.overrides"]
    restored = plan_file.from_bytes(plan_file.to_bytes(plan)).runtime.tracking.uri or ""
    for part in SECRET.split():
        assert part not in stored
        assert part not in restored


@pytest.mark.parametrize(
    "text",
    [
        f"cannot open 'postgresql://me:{SECRET}@host/db': refused",
        f"postgresql://me@work:{SECRET}@host/db is away",
        f"PGPASSWORD='{SECRET}' psql",
        f"PASSWORD={SECRET.replace(' ', '')}",
    ],
)
def test_messages_contain_no_password(text):
    for error in (TrackingError(text), TrackingError(f"once\n{text}")):
        assert not any(part in str(error) for part in (*SECRET.split(), "s3cretw0rd"))
    # Everything else stays as it is.
    assert passwords.mask_text("sqlite:////a/b.db, http://host:5000 and me@host") in (
        "sqlite:////a/b.db, http://host:5000 and me@host",
        "sqlite:////a/b.db, http://host:***@host",
    )


def test_a_wrong_address_is_refused_without_its_password(tmp_path):
    with pytest.raises(ConfigError) as refused:
        locate(f"postgres://me:{SECRET}@host/db", tmp_path, {})
    assert "***" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_stored_changes_of_a_checkout_contain_no_password(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path, check=True, capture_output=True,
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
        )  # fmt: skip

    git("init")
    (tmp_path / "store.yaml").write_text("uri: postgresql://me:0ld@host/db\n")
    git("add", ".")
    git("commit", "-m", "one")
    changed = "uri: postgresql://me@work:n3w@host/db\nPGPASSWORD=n3w\nletter: é\n"
    (tmp_path / "store.yaml").write_bytes(changed.encode("latin-1"))
    monkeypatch.setattr(environment, "_git", _git_in(tmp_path))
    environment.tags.cache_clear()
    diff = environment.artifacts()["git.diff"]
    environment.tags.cache_clear()
    assert b"n3w" not in diff
    assert b"0ld" not in diff
    assert b"+uri: postgresql://me@work:***@host/db\n+PGPASSWORD=***\n+letter: \xe9\n" in diff


def _git_in(folder):
    def run(*arguments):
        return subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, check=True
        ).stdout

    return run
