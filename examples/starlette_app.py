"""A Starlette site with Copilot below /copilot.

Run it:  uvicorn starlette_app:app
Try it:  curl localhost:8000/copilot/v1/models
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from copilot_asgi import CopilotApp

copilot = CopilotApp()


async def home(request: Request) -> PlainTextResponse:
    """The site's own page."""
    return PlainTextResponse(f"hello from the host at {request.url.path}")


# ``lifespan=copilot.lifespan`` would open the app at start-up and close it at shutdown; it is not needed.
app = Starlette(routes=[Route("/", home), Mount("/copilot", copilot)])
