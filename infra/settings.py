"""Settings: the only place that reads the environment. Defaults are the embedded stack; every address can
point at a production service (``RATCHET_S3_ENDPOINT_URL=...``)."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlratchet.infra.project_path import project_folders, project_path, ratchets_path
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.fault_points import arm
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


def find_home() -> Path:
    """$RATCHET_HOME, else the nearest `.ratchet` here or above, else `.ratchet` here.

    Raises ``SecurityError`` for one of somebody else's that nobody named: in a folder that many may write to, such as
    /tmp, another account could choose where commands run here and below it send their data.
    """
    named = os.environ.get("RATCHET_HOME")
    if named:
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / ".ratchet").is_dir():
            owner = (folder / ".ratchet").stat().st_uid
            if owner != os.getuid():
                raise SecurityError(
                    f"{folder / '.ratchet'} belongs to user {owner}, not to you ({os.getuid()}); set RATCHET_HOME to "
                    "it if you mean it, or to a folder of your own"
                )
            return folder / ".ratchet"
    return here / ".ratchet"


class BucketNames(BaseSettings):
    """Where deliveries, everything of ours, and MLflow's artifacts are."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", extra="ignore", frozen=True)

    raw_bucket: str = "ratchet-raw"
    store_bucket: str = "ratchet-store"
    mlflow_bucket: str = "ratchet-mlflow"


class Settings(BucketNames):
    """Addresses and credentials of the stack."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", extra="ignore", frozen=True)

    home: Path
    s3_endpoint_url: str | None = None  # None: the S3 of the AWS region
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr
    s3_secret_key: SecretStr
    s3_session_token: SecretStr | None = None  # of temporary credentials
    mlflow_tracking_uri: str
    mlflow_username: str | None = None
    mlflow_password: SecretStr | None = None
    prefect_api_url: str
    prefect_auth: SecretStr | None = None  # user:password
    no_auth: bool = False  # said by `ratchet up --no-auth`: Prefect and MLflow of the stack ask nobody for a password
    work_pool: str = "ratchet"
    worker_limit: int = 8  # runs at once; those that wait for a person are none
    signing_key_file: Path | None = None  # the pipeline's private key; None: `keys/pipeline.pem` of the home
    signing_key: SecretStr | None = None  # the same, itself
    approver_key_file: Path | None = None  # the private key of who approves; None: `keys/approver-OWNER.pem`
    approver_key: SecretStr | None = None
    trusted_keys: Path | None = None  # the public list of keys; None: `trusted-keys.json` of the home
    node_address: str = "127.0.0.1"  # of this machine, as the other nodes of a training reach it
    rendezvous_port: int = 0  # where the agents of a training meet; 0: any free one
    node_wait_seconds: float = 600.0  # how long a training waits for its other nodes
    serving_host: str = "127.0.0.1"
    serving_tls_certificate: Path | None = None  # PEM files: model servers then answer TLS at `serving_host`,
    serving_tls_key: Path | None = None  # and without it this machine alone
    serving_tls_port: int = 8443
    serving_names: str = ""  # by which clients may call a model server beside addresses and localhost; commas between
    serving_s3_access_key: SecretStr | None = None  # of who may read store and MLflow's bucket; None: s3_access_key
    serving_s3_secret_key: SecretStr | None = None
    log_key_file: Path | None = None  # the log writer's private key; None: `keys/log.pem` of the home
    log_s3_access_key: SecretStr | None = None  # of who may write below `log/` of the store; None: s3_access_key
    log_s3_secret_key: SecretStr | None = None
    log_spool_bytes: int = Field(default=512_000_000, ge=0)  # of log files that wait on the disk while S3 is away
    shard_cache_bytes: int = Field(default=0, ge=0)  # of shards in `cache/` of the home; 0: a quarter of the free disk
    reconcile_seconds: float = 900.0  # between two `ratchet reconcile` of the supervisor
    notify_webhook: SecretStr | None = None  # address that alarms are posted to, where `monitoring.notify` is webhook
    metrics_folder: Path | None = None  # of a textfile collector: the monitor writes `ratchet-NAME.prom` there
    pipelines_dir: Path = Path("deployments/pipelines")
    fault: str | None = None  # `name:crash|stop|raise`, for tests


def pipelines_folder() -> Path:
    """Where pipeline files lie; before the first `ratchet up`, too."""
    try:
        return load_settings().pipelines_dir
    except ConfigurationError:
        return Path(os.environ.get("RATCHET_PIPELINES_DIR", "deployments/pipelines"))


class AuditSettings(BaseSettings):
    """What an auditor needs: a bucket that may be read, and the public list of keys. No stack, no private key."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", extra="ignore", frozen=True)

    home: Path  # where the heads of clean audits are remembered
    s3_endpoint_url: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr | None = None  # None: what boto3 finds by itself (AWS_*, a profile, a role)
    s3_secret_key: SecretStr | None = None
    s3_session_token: SecretStr | None = None  # of temporary credentials
    store_bucket: str = "ratchet-store"
    trusted_keys: Path | None = None
    mlflow_tracking_uri: str | None = None  # its word on the ledger's head is compared where it answers


def load_audit_settings() -> AuditSettings:
    """From the environment, and from the installation here if there is one."""
    home = find_home()
    file = home / "stack.env"
    settings = AuditSettings(_env_file=file if file.is_file() else None, home=home)
    if settings.trusted_keys is None and (home / "trusted-keys.json").is_file():
        settings = settings.model_copy(update={"trusted_keys": home / "trusted-keys.json"})
    return settings


def load_settings(home: Path | None = None) -> Settings:
    """The settings of an installation. Raises ``ConfigurationError`` when there is none yet."""
    where = home or find_home()
    file = where / "stack.env"
    try:
        settings = Settings(_env_file=file if file.is_file() else None, home=where)
    except ValidationError as exc:
        missing = ", ".join(str(error["loc"][0]) for error in exc.errors())
        raise ConfigurationError(
            f"no stack is configured in {where} (missing or wrong: {missing}); run `ratchet up`, "
            "or set RATCHET_* variables"
        ) from exc
    _arm(settings.fault or "")
    return settings


class ServerSettings(AuditSettings):
    """What a model server needs: buckets that it may read and the public list of keys. No password, no private key."""

    serving_names: str = ""
    serving_tls_certificate: Path | None = None
    serving_tls_key: Path | None = None
    key_folders: str = ""  # that a user's code never reads, as PATH lists them
    fault: str | None = None


def load_server_settings() -> ServerSettings:
    """From the environment alone. Raises ``ConfigurationError`` where it says too little."""
    try:
        settings = ServerSettings(home=find_home())
    except ValidationError as exc:
        words = ", ".join(str(error["loc"][0]) for error in exc.errors())
        raise ConfigurationError(f"a model server needs RATCHET_* variables; missing or wrong: {words}") from exc
    _arm(settings.fault or "")
    return settings


def basic(credentials: str) -> str:
    """The header `Authorization` for user:password (RFC 7617)."""
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


PRIVATE_KEYS = ("RATCHET_SIGNING_KEY", "RATCHET_APPROVER_KEY")


def without_private_keys(environment: dict[str, str]) -> dict[str, str]:
    """For a process that signs nothing: a server, a rank, a measurement."""
    return {name: value for name, value in environment.items() if name not in PRIVATE_KEYS}


def child_environment(settings: Settings) -> dict[str, str]:
    """What a child process, Prefect, MLflow and boto3 need in their environment."""
    environment = {
        "RATCHET_HOME": str(settings.home),
        "AWS_ACCESS_KEY_ID": settings.s3_access_key.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # `--json` prints JSON alone
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven idle processes otherwise
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_HOME": str(settings.home / "prefect"),
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
    }
    if settings.s3_session_token:
        environment["AWS_SESSION_TOKEN"] = settings.s3_session_token.get_secret_value()
    if settings.s3_endpoint_url:
        environment["MLFLOW_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
        environment["AWS_ENDPOINT_URL_S3"] = settings.s3_endpoint_url
    if settings.mlflow_username and settings.mlflow_password:
        environment["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_username
        environment["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_password.get_secret_value()
    environment |= past_proxies(os.environ)
    if settings.prefect_auth:
        auth = settings.prefect_auth.get_secret_value()
        environment["PREFECT_API_AUTH_STRING"] = auth
        # Prefect's client sends the other one with HTTP and with one of its three WebSockets
        environment["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps({"Authorization": basic(auth)})
    return environment


OUR_HOSTS = ("127.0.0.1", "localhost", "::1")


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Where a proxy is named, what is asked of this machine itself, passwords among it, does not go there. Nothing
    where none is."""
    if not any(name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name in environment):
        return {}
    named = ",".join(environment.get(name, "") for name in ("no_proxy", "NO_PROXY"))
    hosts = dict.fromkeys([*filter(None, (one.strip() for one in named.split(","))), *OUR_HOSTS])
    return dict.fromkeys(("no_proxy", "NO_PROXY"), "*" if "*" in hosts else ",".join(hosts))


TEMPORARY_ROOT = "RATCHET_TEMPORARY"


def temporary_root() -> Path:
    """Where this process and those that it starts make temporary folders: at a short path, because sockets are made in
    them, whose paths may be 107 bytes long."""
    return Path(os.environ.get(TEMPORARY_ROOT) or tempfile.gettempdir())


def told_temporary(folder: Path) -> dict[str, str]:
    """For a service of the stack: what others than Ratchet make goes to `folder`, what Ratchet makes where it went."""
    return {"TMPDIR": str(folder), TEMPORARY_ROOT: str(temporary_root())}


TOLD_TO_CHILDREN = (
    "PATH", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ", "LANG",
    "LANGUAGE", "TERM", "NO_COLOR", "USER", "LOGNAME",
)  # fmt: skip
KINDS_TOLD = (
    "LC_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "NUMEXPR_", "MALLOC_", "CUBLAS_", "CUDA_", "NVIDIA_", "NCCL_",
    "GLOO_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "HIP_", "ROCR_",
)  # fmt: skip
SECRETS = re.compile(r"(?i)key|secret|token|passw|auth|credential|headers")  # Prefect's custom headers hold one


def told_to_children(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a process that runs a user's code is told: by an allow-list, never a credential. The
    interpreter would import from PYTHONPATH before the process is bound: its folders are told in a variable of ours."""
    return (
        project_path(environment)
        | ratchets_path(environment)
        | {
            name: value
            for name, value in environment.items()
            if (name in TOLD_TO_CHILDREN or name.startswith(KINDS_TOLD)) and not SECRETS.search(name)
        }
    )


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """For a process that imports for others and asks nobody for anything."""
    return {name: value for name, value in environment.items() if not SECRETS.search(name)}


BOUNDS = "RATCHET_BOUNDS"


def told_bounds() -> str | None:
    """What the ranks of an attempt are bound to, as their agent was told; None outside of one."""
    return os.environ.get(BOUNDS)


def arm_fault() -> None:
    """The fault point that a test names, in a process that has no other settings."""
    _arm(os.environ.get("RATCHET_FAULT", ""))


def _arm(fault: str) -> None:
    name, _, kind = fault.partition(":")
    if kind in ("crash", "stop", "raise"):
        arm(name, kind)  # type: ignore[arg-type]  # narrowed by the test above


def python_path() -> list[str]:
    """The folders of users' modules, beside the one that somebody works in: PYTHONPATH, and what stood in it where
    the interpreter is not to know of it."""
    return project_folders(os.environ)


PLAIN = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "RATCHET_FAULT")
PLAIN_PREFIXES = ("LC_", "PYTHON", "SSL_", "OMP_", "MKL_", "CUDA_")


def store_environment(settings: Settings, access: SecretStr | None, secret: SecretStr | None) -> dict[str, str]:
    """The store bucket by an S3 identity, and the public list. Of this process's own environment what names no
    credential."""
    plain = {k: v for k, v in os.environ.items() if k in PLAIN or k.startswith(PLAIN_PREFIXES)}
    found = plain | {
        "RATCHET_HOME": str(settings.home),
        "RATCHET_S3_REGION": settings.s3_region,
        "RATCHET_S3_ACCESS_KEY": (access or settings.s3_access_key).get_secret_value(),
        "RATCHET_S3_SECRET_KEY": (secret or settings.s3_secret_key).get_secret_value(),
        "RATCHET_STORE_BUCKET": settings.store_bucket,
        "RATCHET_TRUSTED_KEYS": str(settings.trusted_keys or settings.home / "trusted-keys.json"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "OMP_NUM_THREADS": "1",
    }
    if settings.s3_endpoint_url:
        found["RATCHET_S3_ENDPOINT_URL"] = settings.s3_endpoint_url
    if settings.s3_session_token and access is None:
        found["RATCHET_S3_SESSION_TOKEN"] = settings.s3_session_token.get_secret_value()
    found.pop("PYTHONPATH", None)
    return found | ratchets_path(os.environ)


def base_environment() -> dict[str, str]:
    """A copy of this process's environment, without a foreign stack's addresses, and with no proxy before our own."""
    found = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "AWS_"))}
    return found | past_proxies(found)


def process_environment() -> dict[str, str]:
    """A copy of this process's environment, whole."""
    return dict(os.environ)


def add_to_environment(environment: dict[str, str]) -> None:
    """These variables, in this process."""
    os.environ.update(environment)


def replace_environment(environment: dict[str, str]) -> None:
    """This process's environment becomes `environment`."""
    os.environ.clear()
    os.environ.update(environment)
    _tell_prefect()


@contextmanager
def single_request() -> Iterator[None]:
    """No HTTP retries by MLflow's client inside: a retried create whose reply was lost makes two."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def forbid_pickle() -> None:
    """Make MLflow and torch refuse pickles in this process.

    Raises ``SecurityError`` when the environment asks torch to execute them.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        raise SecurityError("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: it lets a model file execute code; unset it")
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"


def apply_environment(settings: Settings) -> None:
    """Point the libraries of this process at the stack. Call before importing mlflow."""
    os.environ.update(child_environment(settings))
    _tell_prefect()


def _tell_prefect() -> None:
    """It reads the environment when it is imported, and in a fork of the warm process it is."""
    if "prefect.context" in sys.modules:
        sys.modules["prefect.context"].refresh_global_settings_context()
