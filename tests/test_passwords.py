"""Passwords of stores are neither shown nor stored, whatever characters they hold."""

import os
import subprocess

import pytest
import sqlalchemy
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bpexp.config.compose import compose_settings
from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.runs import environment
from bpexp.sweeps import plan_file, provenance
from bpexp.sweeps.plan import make_plan
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import connect, locate

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
    f"postgresql://me:a#b%40:{SECRET}@host/db",
    f"https://host/path?access_token={SECRET}&x=1",
    f"https://{SECRET.replace(' ', '')}@host/path",
    "http://s3cret%20w0rd@host:5000",
    f"postgresql://me:{SECRET.replace(' ', '%20')}%40@host/db",
    f"mssql+pyodbc://host/db?odbc_connect=UID%3Dme%3BPWD%3D{SECRET}%3BEncrypt%3Dyes",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_masked(address, tmp_path):
    shown = locate(address, tmp_path, {}).shown
    for part in SECRET.split():
        assert part not in shown
    assert "***" in shown
    assert shown.startswith(address.partition("://")[0])


@example("***", "password")
@given(
    st.text(st.characters(exclude_characters=":/", exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), min_size=8),
)
def test_what_sqlalchemy_reads_as_the_password_is_masked(user, password):
    address = f"postgresql://{user}:{password}@host/db"
    assert sqlalchemy.make_url("postgresql://me:x@host/db").password == "x"
    assert passwords.mask(address).rpartition("***")[2] == "@host/db"
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


def test_a_setting_whose_name_is_secret_is_not_stored():
    tags = {"db_password": "s3cret", "smtp_pass": 1234, "note": "mysql -ps3cret", "other": "a: b"}
    plan = make_plan([compose_settings({"tracking": {"tags": tags}})], ["tracking.tags.pwd=s3cret"])
    stored = yaml.safe_load(provenance.sweep_files(plan)["config.yaml"])["tracking"]["tags"]
    assert stored == {
        "db_password": "***",
        "smtp_pass": "***",
        "note": "mysql -p***",
        "other": "a: b",
    }
    assert provenance.own_tags(plan) == stored
    assert provenance.tags(plan)["bpexp.overrides"] == "'tracking.tags.pwd=***'"


@pytest.mark.parametrize(
    "text",
    [
        f"cannot open 'postgresql://me:{SECRET}@host/db': refused",
        f"postgresql://me@work:{SECRET}@host/db is away",
        f"PGPASSWORD='{SECRET}' psql",
        f"PASSWORD={SECRET.replace(' ', '')}",
        f"'http://me:it's{SECRET}@host/' is away",
        "MLFLOW_TRACKING_TOKEN=s3cretw0rd bpexp",
        f'{{"token": "{SECRET}", "n": 1}}',
        f"AWS_SECRET_ACCESS_KEY = '{SECRET}'",
        "https://s3/bucket?X-Amz-Security-Token=s3cretw0rd&X-Amz-Signature=s3cretw0rd&x=1",
        "https://account.blob/container?sv=1&sig=s3cretw0rd",
        "Authorization: Bearer s3cretw0rd.with-dots",
        "authorization: 'Basic s3cretw0rd=='",
        "cannot clone git+https://s3cretw0rd@host/x.git",
        "connection failed: host=h port=5432 user=me password=s3cretw0rd dbname=d",
        "Driver={x};Server=h;User ID=me;Pwd=s3cretw0rd;Encrypt=yes",
        "machine host login me password s3cretw0rd",
        "the token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s3cretw0rd is not valid",
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


@pytest.mark.parametrize(
    "line",
    [
        "password: s3cret #w0rd",
        "  - export MY_TOKEN=s3cretw0rd",
        "api-key = s3cret, w0rd",
        "password: 'it''s3cret w0rd'",
        'password: "with \\" s3cret w0rd"',
        "store: {user: me, password: s3cretw0rd}",
        '  "secret_key": "s3cret w0rd",',
        "  password s3cretw0rd",
        "machine host login me password s3cretw0rd",
        "machine host  login me\tpassword\ts3cretw0rd",
        "\tpassword  s3cretw0rd",
        "mlflow server --db-password s3cretw0rd --port 5000",
    ],
)
def test_a_line_of_a_configuration_contains_no_password(line):
    masked = passwords.mask_line(line, is_code=False)
    assert "s3cret" not in masked
    assert "w0rd" not in masked
    assert masked.count('"') == line.replace('\\"', "").count('"')
    assert passwords.mask_line(masked, is_code=False) == masked


@pytest.mark.parametrize(
    "line",
    [
        "monkeypatch.setenv('PGPASSWORD', 's3cretw0rd')",
        "os.environ['MLFLOW_TRACKING_TOKEN'] = 's3cretw0rd'",
        "token: str | None = f's3cretw0rd'",
        r'"source": ["password = \"s3cretw0rd\"\n",',
        "os.system('PGPASSWORD=s3cretw0rd psql')",
        "login('ghp_s3cretw0rd0123456789s3cretw0rd')",
        "connect('host=h user=me password=s3cretw0rd')",
        "clone('https://s3cretw0rd@host/x.git')",
    ],
)
def test_a_line_of_code_contains_no_password(line):
    masked = passwords.mask_line(line, is_code=True)
    assert "s3cret" not in masked
    assert masked.count("'") == line.count("'")
    assert masked.count('"') == line.count('"')


@pytest.mark.parametrize(
    ("line", "is_code"),
    [
        ("def login(token, password=password, *, secret: str) -> None:", True),
        ("token = tokens.next()", True),
        ('name = "" if token == "" else "x"', True),
        ("uri: postgresql://me@host/db", False),
        ("password: ${oc.env:PGPASSWORD}", False),
        ("n_tokens: 5", False),
        ("connect(host=host, password=password)", True),
        ('connect(f"host={host} password={password}")', True),
        ("usage: run --token TOKEN --secret <secret> --password $PASSWORD", False),
        ("FATAL: password authentication failed for user me", False),
        ("keys: [a, b]", False),
        ("Basic backpropagation_with_momentum; the token is sk-learn-estimators-and-more", False),
    ],
)
def test_what_is_no_password_stays_in_a_file(line, is_code):
    assert passwords.mask_line(line, is_code=is_code) == line


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mysqldump -u root -ps3cret db", "mysqldump -u root -p*** db"),
        ("mysql -h host -p's3 cret' db", "mysql -h host -p'***' db"),
        ("run(['mysql', '-ps3cret', 'db'])", "run(['mysql', '-p***', 'db'])"),
        ("mongodump --port 27017 -ps3cret --out x", "mongodump --port 27017 -p*** --out x"),
        ("sshpass -p s3cret ssh -p 22 me@host", "sshpass -p *** ssh -p 22 me@host"),
        ('["sshpass", "-p", "s3cret"]', '["sshpass", "-p", "***"]'),
        ("OPTIONS='-uroot -ps3cret'", "OPTIONS='-uroot -p***'"),
        ("docker login -u me -p s3cret host", "docker login -u me -p *** host"),
        ("sqlcmd -U sa -P s3cret -S host", "sqlcmd -U sa -P *** -S host"),
        ("ldapsearch -D cn=me -w s3cret", "ldapsearch -D cn=me -w ***"),
        ("redis-cli -a s3cret ping", "redis-cli -a *** ping"),
        ("curl -u me:s3cret http://host", "curl -u me:*** http://host"),
        ("sqlplus me/s3cret@host", "sqlplus me/***"),
        ("openssl rsa -passin pass:s3cret", "openssl rsa -passin pass:***"),
        ("me:s3cret@tcp(host:3306)/db?x=1", "me:***@tcp(host:3306)/db?x=1"),
        ("dsn = 'me:s@3 cret@unix(/a.sock)/db'", "dsn = 'me:***@unix(/a.sock)/db'"),
        ("proxy me:s3cret@host:3128 is away", "proxy me:***@host:3128 is away"),
        ("host.org:5432:db:me:s3cret", "host.org:5432:db:me:***"),
        (r"*:*:*:me:s3\:cret", "*:*:*:me:***"),
    ],
)
def test_a_password_is_masked_alike_in_messages_commands_and_files(text, masked):
    assert passwords.mask_text(text) == masked
    assert passwords.mask(f"tracking.tags.note={text}") == f"tracking.tags.note={masked}"
    for is_code in (True, False):
        assert passwords.mask_line(text, is_code=is_code) == masked
    assert passwords.mask_text(masked) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("cannot log in; password: s3cret, user: me", "cannot log in; password: ***, user: me"),
        ("password: correct horse\nuser: me", "password: ***\nuser: me"),
        ("{user: me, password: 's3 cret'}", "{user: me, password: '***'}"),
        ("DB_PASS=s3cret smtp_pass: s3cret", "DB_PASS=*** smtp_pass: ***"),
        ('tool --password "s3 cret" --n 3', 'tool --password "***" --n 3'),
        ("tool --api-key s3cret", "tool --api-key ***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nb", "-----BEGIN PRIVATE KEY-----\n***\n***"),
        ("-----BEGIN PRIVATE KEY-----MIIE-----END PRIVATE KEY-----, 'a'",
         "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----, 'a'"),
        ("no -----BEGIN PRIVATE KEY-----\nis in it.", "no -----BEGIN PRIVATE KEY-----\nis in it."),
    ],
)  # fmt: skip
def test_a_password_is_masked_in_a_message(text, masked):
    assert passwords.mask_text(text) == masked
    assert passwords.mask_text(masked) == masked


ORDINARY = """
lr=0.1 -p -pedantic -p8080:80 -u --port 5432 mkdir -pv docker run ssh -p22 user: key: host pass
pass=3 forward_pass=2 two_pass: bypass: keys=[a,b] token tokens: secretary 12:30:45 x:y@z me@host
it's mailto:me@host.org git@github.com:a/b.git image:1.2@sha256:0123abcd a.py:12:5:E501:
2001:db8:1:2:3:4:5:6 http://host/a?b=c p://me@/db sqlite:////a/b.db ${oc.env:PASSWORD} and the (a|b)
curl -U @property net a.py:12:f:g:h is range(0,10) a.py::test_b[c] "quoted" 'text' mysql mongo zip
"""


@given(
    st.lists(st.sampled_from(ORDINARY.split()), max_size=8),
    st.sampled_from(["- ", "# ", "", "\t"]),
)
def test_text_without_a_password_stays_as_it_is(words, indent):
    if any(word.startswith("-p") for word in words):
        # Together they are a user and a password of MySQL.
        words = [word for word in words if word not in ("mysql", "mongo", "-u")]
    text = indent + " ".join(words)
    assert passwords.mask_text(text) == text
    assert passwords.mask(text) == text
    for is_code in (True, False):
        assert passwords.mask_line(text, is_code=is_code) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":=@-"), max_size=60))
def test_text_without_separators_stays_as_it_is(text):
    assert passwords.mask_text(text) == text


@pytest.mark.parametrize(
    "address",
    [
        "http://me:first%zz#second@127.0.0.1:1",
        "http://me:first/second@127.0.0.1:1",
        "https://me:first?second@127.0.0.1:1",
        "postgresql://me:first@second@127.0.0.1:1/db",
        "postgresql://me:first@second@[::1/db",
        "postgresql://me:first:second@127.0.0.1:port/db",
        "mysql+nothing://me:first%23second@127.0.0.1:1/db",
    ],
)
def test_an_address_that_cannot_be_opened_is_named_without_its_password(
    address, tmp_path, monkeypatch
):
    monkeypatch.setenv("BPEXP_RETRY_SECONDS", "0")
    with pytest.raises(ConfigError) as refused:
        connect(locate(address, tmp_path, {}))
    message = str(refused.value)
    assert message.startswith(f"Cannot open the store '{address.partition(':')[0]}://me:***@")
    assert "first" not in message
    assert "second" not in message


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
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "module.py"))
    for cached in (environment.tags, environment.repository, environment.repository_filters):
        cached.cache_clear()
    diff = environment.artifacts()["git.diff"]
    for cached in (environment.tags, environment.repository, environment.repository_filters):
        cached.cache_clear()
    assert b"n3w" not in diff
    assert b"0ld" not in diff
    # A line that holds a password is removed, so that the hunk is not part of the patch.
    assert diff.endswith(b"# -uri: postgresql://me:***@host/db\n"
                         b"# +uri: postgresql://me@work:***@host/db\n"
                         b"# +PGPASSWORD=***\n# +letter: \xe9\n\n")  # fmt: skip
