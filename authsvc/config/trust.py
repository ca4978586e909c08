"""The section of trust: who is asked for what proof, on the listeners and on the way to them."""

from pydantic import Field, SecretStr

from authsvc.config.sections import Port, Section


class TrustSection(Section):
    """Callers and TLS. What is in the files is judged where they are read."""

    authenticate: bool | None = Field(
        None,
        description="Ask every gRPC caller who it is; by default where principals_file or grpc_client_ca is set",
    )
    principals_file: str = Field(
        "", description="TOML file that declares callers; read again when it changes"
    )
    grpc_certificate: str = Field(
        "", description="Certificate chain (PEM) of the gRPC server; read again when it changes"
    )
    grpc_certificate_key: str = Field("", description="Its private key (PEM)")
    grpc_client_ca: str = Field(
        "", description="Who signs client certificates (PEM); with it every connection has to show one"
    )
    grpc_keys_port: Port | None = Field(
        None,
        description="Beside grpc_client_ca: a port that asks for no certificate, for service keys; 0 takes a free one",
    )
    http_certificate: str = Field(
        "", description="Certificate chain (PEM) of the HTTP edge; read again when it changes"
    )
    http_certificate_key: str = Field("", description="Its private key (PEM)")
    grpc_ca: str = Field(
        "",
        description="Who signs the gRPC server's certificate (PEM); without it the edge and commands use no TLS",
    )
    grpc_client_certificate: str = Field(
        "", description="Certificate (PEM) with which the edge and commands call; read again when it changes"
    )
    grpc_client_certificate_key: str = Field("", description="Its private key (PEM)")
    grpc_server_name: str = Field(
        "", description="Name in the gRPC server's certificate, where it is not the target's"
    )
    service_key: SecretStr | None = Field(
        None, description="Service key with which the edge and commands call the gRPC server"
    )

    @property
    def asks_callers(self) -> bool:
        """Whether callers have to say who they are."""
        if self.authenticate is not None:
            return self.authenticate
        return bool(self.principals_file or self.grpc_client_ca)
