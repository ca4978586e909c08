"""Where a verifier reports to: override what you want to measure, with the metrics library you have."""

from authsvc_client.verdicts import Cause, Verdict


class Hooks:
    """
    What can be listened to; every method does nothing unless overridden in a subclass. Later releases may add more.

    Calls come on the verifying thread or on the verifier's own loop, and must not block. An exception from a hook
    reaches the caller of `verify`. Nothing handed over holds a token's text.
    """

    def verdict(self, verdict: Verdict, *, by: str) -> None:
        """A token was judged, *by* `"local"`, `"server"` (asked), or `"open"` (accepted though stale)."""

    def cannot_know(self, cause: Cause) -> None:
        """A token could not be judged."""

    def keys_read(self, *, ok: bool) -> None:
        """The keys were asked for; not ok keeps the last good ones."""

    def stream_ended(self, why: str) -> None:
        """
        The revocation stream ended and is opened again.

        *why* is `"go_away"`, `"done"`, `"silent"`, `"stalled"`, `"behind"`, `"too_old"`, `"broken"` or a gRPC status name in
        lower case.
        """

    def snapshot(self, facts: int) -> None:
        """A complete snapshot of that many revocations replaced what was known."""

    def asked(self, tokens: int, *, ok: bool) -> None:
        """The server was asked about that many tokens in one call."""
