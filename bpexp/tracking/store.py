"""Where runs are tracked, and that place made ready."""

import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpexp.fields.checks import ConfigError
from bpexp.tracking import output_directory

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")


@dataclass(frozen=True)
class Store:
    """A tracking URI and, where it is ours to choose, the folder of artifacts."""

    uri: str
    artifacts: Path | None

    @property
    def shown(self) -> str:
        """The URI as it may be printed: without a password."""
        return without_password(self.uri)

    @property
    def ui_command(self) -> str:
        """The line that opens MLflow's pages on this store."""
        if self.uri.startswith("http"):
            return f"open {self.shown}"
        return "python -m bpexp ui" + self._option

    def resume_command(self, sweep: str, experiment: str) -> str:
        """The line that finishes a sweep of this store."""
        among = "" if experiment == "bpexp" else f" --experiment {shlex.quote(experiment)}"
        return f"python -m bpexp resume {sweep[:8]}{among}{self._option}"

    @property
    def _option(self) -> str:
        return "" if self == locate(None, Path.cwd(), {}) else f" --uri '{self.shown}'"


def without_password(text: str) -> str:
    """The text with the passwords of addresses in it made unreadable."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|passwd|sslpassword)=)[^&\s'\"]*", r"\1***", text)


def locate(
    uri: str | None, folder: Path, environment: "os._Environ[str] | dict[str, str]"
) -> Store:
    """The store that ``tracking.uri``, else MLFLOW_TRACKING_URI, else ``folder`` means.

    Raises ConfigError for a URI that MLflow's tracking cannot use.
    """
    uri = uri or environment.get("MLFLOW_TRACKING_URI") or None
    if uri is None:
        outputs = folder / "outputs"
        return Store(f"sqlite:///{outputs / 'mlflow.db'}", outputs / "artifacts")
    scheme = uri.partition(":")[0].partition("+")[0]
    if "://" not in uri or scheme not in SCHEMES:
        raise ConfigError(
            "tracking.uri must be a database (sqlite:///file.db, postgresql://...) or an MLflow "
            f"server (http://...), got {uri!r}."
        )
    if scheme == "sqlite":
        database = (folder / uri.removeprefix("sqlite:///")).resolve()
        return Store(f"sqlite:///{database}", database.parent / "artifacts")
    return Store(
        uri, None if scheme in ("http", "https", "databricks") else folder / "outputs/artifacts"
    )


def connect(store: Store) -> "MlflowClient":
    """MLflow's client on the store, its log held to errors and its tables made.

    A locked SQLite file is waited for; a server must be there. Raises ConfigError where the
    store cannot be opened.
    """
    before_mlflow()
    from bpexp.tracking.retry import Patience, TrackingError

    patience = Patience() if store.uri.startswith("sqlite") else Patience(seconds=0)
    try:
        with alone(store):
            return patience.attempt(lambda: _open(store.uri))
    except (TrackingError, ImportError, OSError) as error:
        said = without_password(" ".join(str(error).split())[:300].rstrip("."))
        raise ConfigError(
            f"tracking.uri must be a store that opens, got {store.shown!r}: {said}."
        ) from error


def before_mlflow() -> None:
    """The settings that MLflow has to find when it is imported."""
    _hold_logs()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Otherwise a server's address is printed once for every run, after one more request.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Its bars would stand between our lines, where tqdm happens to be installed.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Waiting is ours: MLflow's own would come on top, minutes of it for each request.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def _open(uri: str) -> "MlflowClient":
    """MLflow itself tries a database that does not open for minutes, so it is tried first."""
    import mlflow
    import sqlalchemy

    _hold_logs()
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.exists():
        _make(database)
    if not uri.startswith(("http", "databricks")):
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            if sqlalchemy.inspect(connection).has_table("alembic_version"):
                found = sqlalchemy.text("SELECT version_num FROM alembic_version")
                _check_version(connection.scalar(found))
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _check_version(found: str | None) -> None:
    """Raises TrackingError where this MLflow does not work with tables of that version."""
    import mlflow
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config, _get_latest_schema_revision

    from bpexp.tracking.retry import TrackingError

    wanted = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    if found in (None, wanted):
        return
    from alembic.script import ScriptDirectory

    config = _get_alembic_config("")  # type: ignore[no-untyped-call]
    try:
        ScriptDirectory.from_config(config).get_revision(found)
        mend = "'mlflow db upgrade' makes it one, after a copy was taken"
    except CommandError:
        mend = "the MLflow that made it, a newer one, is needed"
    raise TrackingError(
        f"it must have the tables of MLflow {mlflow.__version__} (version {wanted}), got version "
        f"{found}; {mend}."
    )


def _make(database: Path) -> None:
    """A new SQLite store, there whole or not at all: half of MLflow's tables cannot be mended."""
    import mlflow

    growing = database.with_name(f"{database.name}.new")
    growing.unlink(missing_ok=True)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{growing}")
    client.search_experiments(max_results=1)
    client._tracking_client.store.engine.dispose()
    growing.replace(database)


def _hold_logs() -> None:
    """Hold MLflow's logs to errors, unless the root logger's level asks for all there is.

    An error of the database reaches the caller too: it is not said twice.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def experiment_id(client: "MlflowClient", store: Store, name: str) -> str:
    """The id of the experiment of that name, made if it is not there."""
    from bpexp.tracking.retry import Patience, TrackingError

    attempt = Patience().attempt
    experiment = attempt(lambda: client.get_experiment_by_name(name))
    if experiment is None:
        if store.artifacts:
            output_directory.make(store.artifacts.parent)
        location = store.artifacts.as_uri() if store.artifacts else None
        try:
            return str(attempt(lambda: client.create_experiment(
                name, artifact_location=location,
                # Without this tag MLflow shows its pages for language models.
                tags={"mlflow.experimentKind": "custom_model_development"},
            )))  # fmt: skip
        except TrackingError:
            # Another process made it in between.
            experiment = attempt(lambda: client.get_experiment_by_name(name))
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment must not be a deleted experiment, got {name!r} "
            f"(mlflow experiments restore --experiment-id {experiment.experiment_id})."
        )
    return str(experiment.experiment_id)


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """One process of this machine at a time, where the store is an SQLite file.

    MLflow's migrations do not bear two, and a sweep is to be resumed by one.
    """
    if not store.uri.startswith("sqlite"):
        yield
        return
    import fcntl

    database = Path(store.uri.removeprefix("sqlite:///"))
    output_directory.make(database.parent)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(open(database.with_suffix(".lock"), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            # A store on a medium that cannot be written can be read still.
            if not database.exists():
                raise
        yield
