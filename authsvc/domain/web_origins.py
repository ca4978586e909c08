"""The origin of a web page (RFC 6454 section 6.2), as browsers write it."""

import re

# Scheme, lower-case name or address, port: browsers write it one way, so that comparing texts is enough.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


def is_web_origin(text: str) -> bool:
    """Tell whether *text* is an origin as browsers send it: no path, no wildcard, no `null`, no default port."""
    return _ORIGIN.fullmatch(text) is not None and _DEFAULT_PORT.fullmatch(text) is None
