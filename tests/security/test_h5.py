"""The setting of H5 origins, from the environment to what a browser is told by a running service."""

from pathlib import Path

from tests.e2e.running import dev
from tests.e2e.wire import http_call

H5 = "https://h5.example.com"


def test_a_named_origin_may_log_in_from_its_page_and_no_other(tmp_path: Path) -> None:
    """Preflight and answer grant the named origin; another one is granted nothing, and both are logged in alike."""
    with dev(tmp_path, env={"AUTHSVC_HTTP_ORIGINS": H5}) as (_, service):
        url = service.http + "/api/v1/login"
        granted = {}
        for origin in (H5, "https://evil.example"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            preflight = http_call("OPTIONS", url, headers=asked)
            content = {"app_id": "wx00000000000000d1", "code": service.mint("h5")}
            login = http_call("POST", url, content, headers={"Origin": origin})
            assert login.status == 200
            granted[origin] = [
                each.headers.get("access-control-allow-origin", "") for each in (preflight, login)
            ]
    assert granted == {H5: [H5, H5], "https://evil.example": ["", ""]}
