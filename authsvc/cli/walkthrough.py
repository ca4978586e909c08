"""What `authsvc dev` prints: where everything is, and a story to paste line by line into another terminal."""

import contextlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

_PARTS = {
    "grpc": "gRPC (internal services)",
    "http": "HTTP edge (mini-program)",
    "sandbox": "WeChat sandbox",
    "ops": "metrics and health",
}


def banner(addresses: Mapping[str, str], directory: Path) -> str:
    """Return the addresses, one a line."""
    lines = [f"  {_PARTS[name]:<26} {address}" for name, address in addresses.items()]
    return "\n".join(["authsvc dev is ready", *lines, f"  {'data':<26} {directory}/", "  Ctrl-C stops it."])


def text(addresses: Mapping[str, str], app_id: str) -> str:
    """Return the walk-through; without the sandbox there is no code to mint, so it starts from a real one."""
    python, authsvc = _command("python"), _command("authsvc")
    http, grpc = addresses["http"], addresses["grpc"]
    field = f"{python} -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])'"
    mint = (
        f"""CODE=$(curl -s {addresses["sandbox"]}/sandbox/v1/codes -d '{{"app_id":"{app_id}","user":"alice"}}' | {field} code)"""
        if "sandbox" in addresses
        else "CODE=...   # the code that wx.login gave your mini-program"
    )
    body = {
        "login": f'{{\\"app_id\\":\\"{app_id}\\",\\"code\\":\\"$CODE\\"}}',
        "refresh": '{\\"refresh_token\\":\\"$REFRESH\\"}',
        "phone": '{\\"code\\":\\"$PHONE\\"}',
    }
    # Only the sandbox can tap a button for us.
    phone = (
        [
            "#    it asks for the phone number (the sandbox plays the button)",
            f"""PHONE=$(curl -s {addresses["sandbox"]}/sandbox/v1/phone-codes -d '{{"app_id":"{app_id}","user":"alice"}}' | {field} code)""",
            f'curl -s {http}/api/v1/phone -H "Authorization: Bearer $ACCESS" -d "{body["phone"]}"; echo',
        ]
        if "sandbox" in addresses
        else []
    )
    return "\n".join(
        [
            "",
            "Paste these, line by line, into another terminal in this folder:",
            "",
            "# 1. the mini-program gets a code (the sandbox plays wx.login)",
            mint,
            "# 2. it logs in",
            f'LOGIN=$(curl -s {http}/api/v1/login -d "{body["login"]}"); echo "$LOGIN"',
            f'ACCESS=$(echo "$LOGIN" | {field} access_token); REFRESH=$(echo "$LOGIN" | {field} refresh_token)',
            *phone,
            "# 3. an internal service verifies the token by gRPC",
            f'{authsvc} token verify --grpc-target {grpc} "$ACCESS"',
            "# 4. the mini-program refreshes",
            f'LOGIN=$(curl -s {http}/api/v1/refresh -d "{body["refresh"]}"); echo "$LOGIN"',
            f'ACCESS=$(echo "$LOGIN" | {field} access_token); REFRESH=$(echo "$LOGIN" | {field} refresh_token)',
            "# 5. it logs out, and the token is dead everywhere",
            f'curl -s -X POST {http}/api/v1/logout -H "Authorization: Bearer $ACCESS"; echo',
            f'{authsvc} token verify --grpc-target {grpc} "$ACCESS"',
            f'curl -s {http}/api/v1/refresh -d "{body["refresh"]}"; echo',
            "",
        ]
    )


def _command(name: str) -> str:
    """Return how this environment's command is typed from here: `.venv/bin/python` rather than a long path."""
    path = Path(sys.executable).parent / name
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))
