"""A Litestar site with Copilot below /copilot.

Run it:  uvicorn litestar_app:app
Try it:  curl localhost:8000/copilot/v1/models
"""

from litestar import Litestar, asgi, get

from copilot_asgi import CopilotApp

copilot = CopilotApp()


@get("/")
async def home() -> dict[str, str]:
    """The site's own route."""
    return {"hello": "from the host"}


mounted = asgi("/copilot", is_mount=True, copy_scope=True)(copilot)
app = Litestar(route_handlers=[home, mounted], lifespan=[copilot.lifespan])
