"""Where runs are tracked: finds the store, opens it, and creates its experiment.

MLflow takes more than a second to import; the module that needs it is imported by ``connect``.

>>> from pathlib import Path
>>> from bpexp.tracking.store import locate
>>> locate("sqlite:////data/runs.db", Path("."), {}).uri
'sqlite:////data/runs.db'
"""

import logging
import os
import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bpexp.fields.checks import ConfigError
from bpexp.guards import passwords
from bpexp.tracking import output_directory, store_lock
from bpexp.tracking.ids import short
from bpexp.tracking.retry import RetryPolicy, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE_DRIVERS = ("sqlite", "sqlite+pysqlite")
_SQLITE_HEADER = b"SQLite format 3\0"
"""How the file of a database begins, see https://www.sqlite.org/fileformat.html."""
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
_SERVERS = ("http", "databricks")
"""How the URIs of servers begin."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store.

    Attributes:
        uri: The tracking URI.
        artifacts: Folder for the artifacts of new experiments; None if a server chooses it.
    """

    uri: str
    artifacts: Path | None

    @property
    def shown(self) -> str:
        """The URI without a password, for messages."""
        return passwords.mask(self.uri)

    @property
    def quoted(self) -> str:
        """The URI without a password, quoted for a shell."""
        text = self.shown.replace("'", "'\"'\"'")
        return f"'{text}'"

    @property
    def ui_command(self) -> str:
        """The command that opens MLflow's pages on this store."""
        if self.uri.startswith("http"):
            return f"open {self.shown}"
        return f"bpexp ui{self._uri_option}"

    def resume_command(self, sweep: str, experiment: str) -> str:
        """The command that resumes a sweep."""
        option = "" if experiment == "bpexp" else f" --experiment {shlex.quote(experiment)}"
        return f"bpexp resume {short(sweep)}{option}{self._uri_option}"

    def report_command(self, sweep: str) -> str:
        """The command that writes the report of a sweep."""
        return f"bpexp report {short(sweep)}{self._uri_option}"

    @property
    def relocate_command(self) -> str:
        """The command that makes a copied or moved store use its own folder."""
        return f"bpexp relocate{self._uri_option}"

    @property
    def database(self) -> Path | None:
        """The file of an SQLite store; None for other stores."""
        return sqlite_file(self.uri)

    @property
    def is_new(self) -> bool:
        """Whether this is an SQLite store whose file does not exist yet."""
        return self.database is not None and not self.database.exists()

    def contains(self, artifacts: Path) -> bool:
        """Whether a folder of artifacts is in the folder of an SQLite store; true for others."""
        if self.database is None or self.artifacts is None:
            return True
        return artifacts.resolve().is_relative_to(self.artifacts.parent.resolve())

    def is_copy_of(self, artifacts: Path) -> bool:
        """Whether another SQLite file of the same name is beside a folder of artifacts.

        The store is then a copy of that one: artifacts of an experiment are in the folder of the
        store that created it, unless the user chose another place.
        """
        if self.database is None or self.contains(artifacts):
            return False
        other = artifacts.parent / self.database.name
        return other.is_file() and not other.samefile(self.database)

    @property
    def _uri_option(self) -> str:
        is_default = self == locate(None, Path.cwd(), {})
        return "" if is_default else f" --uri {self.quoted}"


def locate(uri: str | None, folder: Path, environment: Mapping[str, str]) -> Store:
    """The store that a run in ``folder`` uses.

    Args:
        uri: The setting ``tracking.uri``, which takes precedence.
        folder: The working directory; the default store is in its ``outputs``.
        environment: Environment variables; ``MLFLOW_TRACKING_URI`` is used if ``uri`` is None.

    Raises:
        ConfigError: The URI is neither that of a database nor of a server.
    """
    uri = uri or environment.get("MLFLOW_TRACKING_URI") or None
    if uri is None:
        outputs = folder / "outputs"
        return Store(sqlite_uri(outputs / "mlflow.db"), outputs / "artifacts")
    driver = uri.partition(":")[0]
    scheme = driver.partition("+")[0]
    if "://" not in uri or scheme not in SCHEMES:
        raise ConfigError(
            "tracking.uri must be a database (sqlite:///file.db, postgresql://...) or an MLflow "
            f"server (http://...), got {passwords.mask(uri)!r}."
        )
    if scheme == "sqlite":
        file = sqlite_file(uri)
        if file is None or str(file) in (".", ":memory:") or driver not in SQLITE_DRIVERS:
            raise ConfigError(f"tracking.uri must name a file, as sqlite:///file.db, got {uri!r}.")
        options = uri.partition("?")[2]
        if options and not re.fullmatch(r"timeout=\d+(\.\d+)?", options):
            # SQLAlchemy ignores others, or opens another file (uri=true).
            raise ConfigError(
                "tracking.uri must have no option but a number of seconds, as ?timeout=9, "
                f"got {uri!r}."
            )
        try:
            database = (folder / file).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"tracking.uri must name a file, as sqlite:///file.db, got {uri!r}: {error}."
            ) from error
        return Store(
            sqlite_uri(database) + ("?" + options if options else ""),
            database.parent / "artifacts",
        )
    return Store(uri, None if is_server(uri) else folder / "outputs/artifacts")


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server, which chooses the place of artifacts."""
    return uri.startswith(_SERVERS)


def locate_existing(uri: str | None, folder: Path, environment: Mapping[str, str]) -> Store:
    """The store of ``locate``, for a command that only reads.

    Raises:
        ConfigError: The store is an SQLite file that does not exist or is empty, or the URI is
            invalid.
    """
    store = locate(uri, folder, environment)
    database = store.database
    if database is None:
        return store
    if not database.exists():
        raise no_runs_error(store)
    if not database.is_file():
        raise ConfigError(f"The store {store.shown} must be a file, but is none.")
    if not database.stat().st_size:
        raise ConfigError(
            f"The store {store.shown} is an empty file; restore it from a backup, or delete it."
        )
    return store


def no_runs_error(store: Store) -> ConfigError:
    """The error for a store without runs."""
    if store == locate(None, Path.cwd(), {}):
        return ConfigError("No runs in ./outputs yet. Start with: bpexp lr=0.1")
    return ConfigError(
        f"No runs in {store.shown} yet. Start with: bpexp lr=0.1 'tracking.uri={store.shown}'"
    )


def sqlite_uri(database: Path) -> str:
    """The URI of an SQLite file; what SQLAlchemy would not read literally is quoted.

    >>> sqlite_uri(Path("/data/100%/mlflow?.db"))
    'sqlite:////data/100%25/mlflow%3F.db'
    """
    return "sqlite:///" + str(database).replace("%", "%25").replace("?", "%3F")


def sqlite_file(uri: str) -> Path | None:
    """The file that the URI of an SQLite store names, as SQLAlchemy reads it; None for others.

    Unlike in SQLAlchemy, ``~`` means the user's home: a shell does not replace it in an address.

    >>> sqlite_file("sqlite+pysqlite:////data/100%25.db?timeout=1")
    PosixPath('/data/100%.db')
    """
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]*)", uri)
    return Path(os.path.expanduser(unquote(found[1]))) if found else None


def connect(store: Store) -> "MlflowClient":
    """Open a store with MLflow's client; a new SQLite store is created.

    Waits for a locked SQLite file, but not for a server or PostgreSQL.

    Raises:
        ConfigError: The store cannot be opened.
    """
    configure_mlflow()
    retry = RetryPolicy(seconds=0) if store.database is None else RetryPolicy()
    try:
        from bpexp.tracking import mlflow_store

        _check_database(store.database)
        with store_lock.exclusive(store.database):
            return retry.call(mlflow_store.open_client, store)
    except (TrackingError, ImportError, OSError, ValueError) as error:
        text = passwords.mask_pieces(" ".join(str(error).split()), store.uri)
        reason = passwords.mask_text(text)[:300].rstrip(".")
        raise ConfigError(f"Cannot open the store {store.shown!r}: {reason}.") from error


def _check_database(database: Path | None) -> None:
    """Check that a file is an SQLite database, before anything is written beside it.

    Raises:
        ValueError: It is another file.
        OSError: It cannot be read.
    """
    if database is None or not database.exists():
        return
    if not database.is_file():
        raise ValueError("it is not a regular file")
    with open(database, "rb") as file:
        # SQLite makes a database of an empty file.
        if file.read(len(_SQLITE_HEADER)) not in (b"", _SQLITE_HEADER):
            raise ValueError("it is not an SQLite database")


def configure_mlflow() -> None:
    """Set the environment variables that MLflow reads when it is imported, and its log level."""
    limit_logs()
    try:
        Path.home()
    except RuntimeError:
        # MLflow cannot be imported without a home. Nobody, not even root, can create this one.
        os.environ["HOME"] = "/dev/null/home"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Otherwise MLflow prints a server's address after every run, and makes another request.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # MLflow's progress bars would mix with the output of bpexp if tqdm is installed.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Who sets MLFLOW_TRACKING_INSECURE_TLS knows it; urllib3 would say it at every request.
    warnings.filterwarnings("ignore", "Unverified HTTPS request")
    # RetryPolicy retries; MLflow's own retries would add minutes to every request.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def limit_logs() -> None:
    """Log only errors of MLflow, unless the root logger's level is DEBUG.

    Database errors are not logged at all, because they are also raised as exceptions.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def get_or_create_experiment(client: "MlflowClient", store: Store, name: str) -> str:
    """The id of an experiment, which is created if it does not exist.

    Raises:
        ConfigError: The experiment is deleted.
        TrackingError: The store rejected the experiment, or stayed unavailable.
    """
    retry = RetryPolicy()
    experiment = retry.call(client.get_experiment_by_name, name)
    if experiment is None:
        if store.artifacts:
            output_directory.create(store.artifacts.parent)
        try:
            return str(retry.call(
                client.create_experiment, name,
                artifact_location=store.artifacts.as_uri() if store.artifacts else None,
                # Without this tag MLflow shows its pages for language models.
                tags={"mlflow.experimentKind": "custom_model_development"},
            ))  # fmt: skip
        except TrackingError:
            # Another process may have created it at the same time.
            experiment = retry.call(client.get_experiment_by_name, name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise deleted_experiment(name, experiment.experiment_id)
    return str(experiment.experiment_id)


def deleted_experiment(name: str, number: str) -> ConfigError:
    """The error for an experiment that is deleted.

    Args:
        name: Its name.
        number: Its id.
    """
    return ConfigError(
        f"The experiment {name!r} is deleted; choose another one, or set MLFLOW_TRACKING_URI to "
        f"this store and restore it with: mlflow experiments restore --experiment-id {number}"
    )
