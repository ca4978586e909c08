"""
What a sealed value is bound to: its kind and its owner, so that a blob moved to another row or column does not open.

Sealing itself is a port (`ports.Sealer`); the texts here are stored nowhere, and changing one closes every old blob.
"""


def session_key_context(app_id: str, openid: str) -> bytes:
    """Return what a sealed session_key is bound to: its app and its owner."""
    return f"{app_id}\x00{openid}".encode()


def phone_context(app_id: str, openid: str) -> bytes:
    """Return what a sealed phone number is bound to: that it is one, the app, and the identity that gave it."""
    return f"phone\x00{app_id}\x00{openid}".encode()
