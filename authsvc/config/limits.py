"""The section of the limits: who may ask how often, how much one process takes on, and where buckets are shared."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from authsvc.config.sections import Section
from authsvc.domain.limits import Rate
from authsvc.service.limits import DEFAULT_RATES, WIDE, LimitRules


def _judge(text: str) -> str:
    Rate.parse(text)
    return text.strip()


# Kept as it was written, so that it is printed as it was written.
RateText = Annotated[str, AfterValidator(_judge)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class LimitsTable(BaseModel):
    """The table `limits` of an app: what holds for it in the place of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    login: RateText | None = None

    def login_rate(self) -> Rate | None:
        """Return how often the users of this app may log in, all together; None: as any app's."""
        return None if self.login is None else Rate.parse(self.login)


class LimitSection(Section):
    """Limits. A rate is written like `100/s burst 5000`; units s, min, h, d."""

    redis_url: SecretStr | None = Field(
        None, description="Redis where processes share their limits: redis://host:6379/0, rediss:// for TLS"
    )
    limits_wide: bool | None = Field(
        None, description="Make limits that are not set themselves 1000 times as wide; by default so in dev"
    )
    limit_login_app: RateText = Field(DEFAULT_RATES["login_app"], description="Logins of one app")
    limit_login_ip: RateText = Field(
        DEFAULT_RATES["login_ip"], description="Logins from one address (IPv6: a /64)"
    )
    limit_login_device: RateText = Field(
        DEFAULT_RATES["login_device"], description="Logins of one device from one address"
    )
    limit_login_user: RateText = Field(
        DEFAULT_RATES["login_user"], description="Logins of one user, whom WeChat has named"
    )
    limit_login_failed_code: RateText = Field(
        DEFAULT_RATES["login_failed_code"], description="Failed logins with one code"
    )
    limit_login_failed_device: RateText = Field(
        DEFAULT_RATES["login_failed_device"], description="Failed logins of one device from one address"
    )
    limit_login_failed_sender: RateText = Field(
        DEFAULT_RATES["login_failed_sender"],
        description="Failed logins from one address with one User-Agent, without a device",
    )
    limit_login_failed_ip: RateText = Field(
        DEFAULT_RATES["login_failed_ip"],
        description="Failed logins from one address; devices that have logged in before are not held to it",
    )
    limit_refresh_ip: RateText = Field(DEFAULT_RATES["refresh_ip"], description="Refreshes from one address")
    limit_refresh_session: RateText = Field(
        DEFAULT_RATES["refresh_session"], description="Refreshes of one session"
    )
    limit_refresh_forged_ip: RateText = Field(
        DEFAULT_RATES["refresh_forged_ip"],
        description="Refresh tokens that are none of ours, from one address",
    )
    limit_principal_calls: RateText = Field(
        DEFAULT_RATES["principal_calls"], description="Calls of one principal to one process"
    )
    limit_principal_checks: RateText = Field(
        DEFAULT_RATES["principal_checks"], description="Tokens that one principal has one process check"
    )
    limit_principal_watches: RateText = Field(
        DEFAULT_RATES["principal_watches"], description="Streams that one principal begins at one process"
    )
    limit_forged_ip: RateText = Field(
        "5/s burst 100", description="Access tokens that are none of ours, from one address to one edge"
    )
    watchers: Count = Field(5000, description="Streams of revocations that one process serves at once")
    watchers_per_principal: Count = Field(2000, description="Of these, streams of one principal")
    calls_in_flight: Count = Field(
        1000, description="Unary calls that one process works on at once; logins take half of them at most"
    )

    def limit_rules(self, *, wide: bool) -> LimitRules:
        """Return the rules; *wide* ones where nobody set one and `limits_wide` does not say otherwise."""
        return LimitRules(**{name: self.rate(f"limit_{name}", wide=wide) for name in DEFAULT_RATES})

    def rate(self, setting: str, *, wide: bool) -> Rate:
        """Return the rate of one setting (see `limit_rules`)."""
        return Rate.parse(getattr(self, setting)).times(self._factor(setting, wide=wide))

    def count(self, setting: str, *, wide: bool) -> int:
        """Return the number of one setting (see `limit_rules`)."""
        return int(getattr(self, setting)) * self._factor(setting, wide=wide)

    def _factor(self, setting: str, *, wide: bool) -> int:
        widened = wide if self.limits_wide is None else self.limits_wide
        return WIDE if widened and setting not in self.model_fields_set else 1
