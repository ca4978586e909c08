"""
The settings by section. Each section is a model whose `complaints` says what is wrong with it, all at once.

Field names are option names (`grpc_port` → `--grpc-port`), environment variables (`AUTHSVC_GRPC_PORT`) and TOML
keys alike. Durations are seconds. Descriptions are the help texts.
"""

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from authsvc.domain.principals import Role
from authsvc.domain.web_origins import is_web_origin


class Environment(StrEnum):
    """Where we run. `prod` unless somebody says otherwise: forgetting to say must not weaken anything."""

    DEV = "dev"
    TEST = "test"
    PROD = "prod"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


# NoDecode: in the environment a list is comma separated, not JSON.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


def is_loopback(host: str) -> bool:
    """Tell whether a listener on *host* is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_postgres(url: SecretStr) -> bool:
    return url.get_secret_value().startswith(("postgresql:", "postgresql+asyncpg:", "postgres:"))


class Section(BaseModel):
    """A group of settings that can say what is wrong with it."""

    def complaints(self, environment: Environment) -> Iterator[str]:
        """Yield one sentence per problem."""
        del environment
        yield from ()


class GeneralSection(Section):
    """Who we are and how we speak."""

    env: Environment = Field(Environment.PROD, description="dev, test or prod; prod refuses what is unsafe")
    issuer: str = Field("authsvc", min_length=1, description="The claim iss of every access token")
    log_format: Literal["auto", "json", "human"] = Field(
        "auto", description="auto: human on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged"
    )
    ready_file: str = Field("", description="File that receives the addresses as JSON once all parts serve")

    def complaints(self, environment: Environment) -> Iterator[str]:
        """See Section.complaints."""
        if environment is Environment.PROD and self.log_level == "debug":
            yield "log_level: debug is refused in prod"


class StoreSection(Section):
    """The record."""

    database_url: SecretStr | None = Field(
        None,
        description="Where the record lives: sqlite:////var/lib/authsvc.db or postgresql://user:password@host/name",
    )
    database_read_url: SecretStr | None = Field(
        None, description="PostgreSQL: a read replica that answers lists of sessions"
    )
    database_listen_url: SecretStr | None = Field(
        None, description="PostgreSQL: where notifications arrive, past any pooler; by default database_url"
    )
    database_notifications: bool = Field(
        default=True, description="PostgreSQL: be told of revocations (LISTEN); off, the log is only polled"
    )
    database_pool_size: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="PostgreSQL: connections of each worker"
    )
    database_answer_within: Annotated[float, Field(gt=0, le=60)] = Field(
        0.9, description="Seconds in which the record must answer; later, callers are told UNAVAILABLE"
    )
    audit_retention: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=180,
        description="Days that the audit trail is kept; then whole sealed batches go, oldest first",
    )
    session_retention: Annotated[int, Field(ge=1, le=3650)] = Field(
        30, description="Days that a session stays listed after the last moment it could have lived"
    )

    def complaints(self, environment: Environment) -> Iterator[str]:
        """See Section.complaints."""
        del environment
        if self.database_url is None:
            return
        main = _is_postgres(self.database_url)
        for name, url in (
            ("database_read_url", self.database_read_url),
            ("database_listen_url", self.database_listen_url),
        ):
            if url is not None and not (main and _is_postgres(url)):
                yield f"{name}: goes with PostgreSQL only, and has to be of it"


class KeySection(Section):
    """Keys. Private parts come from files and the environment, never from the database."""

    master_keys: SecretStr | None = Field(
        None, description="Ring of base64 32-byte keys, comma separated, the current one first"
    )
    signing_keys_dir: str = Field("", description="Directory of PEM files, one private signing key each")
    signing_keys: SecretStr | None = Field(
        None,
        description="Private signing keys as PEM, the oldest first; beside or in place of the directory's",
    )
    signing_keys_passphrase: SecretStr | None = Field(
        None, description="What opens encrypted signing keys (PKCS#8)"
    )
    signing_key_rotation_days: Annotated[int, Field(ge=0, le=3650)] = Field(
        0,
        description="Days after which the next signing key becomes active by itself; 0: when somebody says so",
    )


class AppSection(Section):
    """The mini-programs."""

    apps_file: str = Field("", description="TOML file that lists the mini-programs")
    default_app: str = Field("", description="App id used where a request names none")
    wechat_allow_hosts: Names = Field(
        (), description="WeChat hosts allowed in prod beside the official ones, by name"
    )


class GrpcSection(Section):
    """The gRPC server."""

    grpc_host: str = Field("127.0.0.1", description="Address the gRPC server binds")
    grpc_port: Port = Field(50051, description="Port of the gRPC server; 0 takes a free one")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Server processes that share the gRPC port, supervised"
    )
    grpc_reflection: bool | None = Field(None, description="Server reflection; by default on in dev and test")
    drain_wait: Annotated[float, Field(ge=0, le=300)] = Field(
        1.0, description="Seconds to announce NOT_SERVING before calls are refused"
    )
    stop_grace: Seconds = Field(10.0, description="Seconds that running calls may take when stopping")
    connection_age: Seconds = Field(1800.0, description="Seconds after which a client connection is renewed")
    local_roles: Annotated[tuple[Role, ...], NoDecode, BeforeValidator(_split)] = Field(
        tuple(Role), description="Roles of the caller `local`, while no caller authenticator is configured"
    )

    accept_exposure: bool = Field(
        default=False, description="In dev, bind beyond loopback although nobody is asked who they are"
    )


class VerifySection(Section):
    """Verification."""

    hard_bound: Annotated[float, Field(ge=1, le=300)] = Field(
        30.0, description="Seconds after which unconfirmed knowledge of revocations decides nothing"
    )
    token_cache_size: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        50_000, description="How many verified tokens are remembered, about 1.5 kB each"
    )


class EdgeSection(Section):
    """The HTTP edge."""

    http_host: str = Field("127.0.0.1", description="Address the HTTP edge binds")
    http_port: Port = Field(8080, description="Port of the HTTP edge; 0 takes a free one")
    grpc_target: str = Field(
        "127.0.0.1:50051", min_length=1, description="Where the edge finds the gRPC server"
    )
    edge_audiences: Names = Field(
        (),
        description="Audiences of the edge itself: /verify and /session judge here, where nothing else is asked for",
    )
    http_origins: Names = Field(
        (),
        description="Origins of web pages (H5) that may read the edge's answers, e.g. https://m.example.com",
    )
    trusted_proxies: Names = Field(
        (), description="Networks whose X-Forwarded-For is believed, e.g. 10.0.0.0/8"
    )
    language: Literal["zh", "en"] = Field(
        "zh", description="Language of messages where a request asks for none"
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Allow plain text beyond loopback: behind a proxy that terminates TLS, on a private network",
    )

    def complaints(self, environment: Environment) -> Iterator[str]:
        """See Section.complaints."""
        for origin in self.http_origins:
            if not is_web_origin(origin):
                yield f"http_origins: {origin} is no origin as browsers send it, such as https://m.example.com"
            elif environment is Environment.PROD and not origin.startswith("https:"):
                yield f"http_origins: {origin} is changed by whoever carries it; prod wants https"
        for block in self.trusted_proxies:
            try:
                ip_network(block)
            except ValueError:
                yield f"trusted_proxies: {block} is no network"


class OpsSection(Section):
    """Metrics and health, on a listener of their own."""

    ops_host: str = Field("127.0.0.1", description="Address the operations listener binds")
    ops_port: Port = Field(9464, description="Port for metrics and health; 0 takes a free one")


class SandboxSection(Section):
    """The WeChat sandbox."""

    sandbox_host: str = Field("127.0.0.1", description="Address the WeChat sandbox binds")
    sandbox_port: Port = Field(8090, description="Port of the WeChat sandbox; 0 takes a free one")
