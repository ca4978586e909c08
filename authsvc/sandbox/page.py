"""
The control page at ``/sandbox``: for a person what the control API is for a program.

Its files are served as they lie in ``static/``; everything it shows it asks the control API for. No script or style
stands in the page itself, so the policy allows none, and nothing is loaded from anywhere else.
"""

from pathlib import Path
from typing import Final

from aiohttp import web

PATH: Final = "/sandbox"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
FOLDER: Final = Path(__file__).with_name("static")
_FILES: Final = {
    PATH: ("index.html", "text/html"),
    f"{PATH}/page.js": ("page.js", "text/javascript"),
    f"{PATH}/page.css": ("page.css", "text/css"),
    f"{PATH}/texts.json": ("texts.json", "application/json"),
    f"{PATH}/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Page:
    """
    The page's files, read once.
    """

    def __init__(self) -> None:
        self._files = {
            path: (FOLDER.joinpath(name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
        }

    def routes(self) -> list[web.RouteDef]:
        """
        Every route of the page.
        """
        return [web.get(path, self.serve) for path in self._files]

    async def serve(self, request: web.Request) -> web.Response:
        """
        One file, with the policy that keeps strangers' values from becoming script.
        """
        body, kind = self._files[request.path]
        return web.Response(
            body=body,
            content_type=kind,
            charset=None if kind.startswith("image/") else "utf-8",
            headers={
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
            },
        )
