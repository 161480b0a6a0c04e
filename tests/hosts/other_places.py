"""Sites that have Copilot at unusual places: below other prefixes, in mounts within mounts, behind middleware.

Run by the tests as applications of a server: ``uvicorn other_places:app``, ``uvicorn other_places:behind_proxy``.
"""

from django_app import application as django_site
from fastapi import FastAPI
from litestar import Litestar, asgi, get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from copilot_asgi import CopilotApp, CopilotMiddleware


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello from the host")


class Passing(BaseHTTPMiddleware):
    """Middleware of the kind that most people write."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-seen-by"] = "middleware"
        return response


@get("/")
async def litestar_home() -> str:
    return "hello from the host"


behind_proxy = FastAPI(root_path="/edge")
inner_api = FastAPI()


@behind_proxy.get("/")
@inner_api.get("/")
async def fastapi_home() -> str:
    return "hello from the host"


behind_proxy.mount("/llm", CopilotApp())
inner_api.mount("/ai", CopilotApp())
outer_api = FastAPI()
outer_api.mount("/v1", inner_api)

behind_middleware = Starlette(
    routes=[Route("/", home), Mount("/copilot", CopilotApp())],
    middleware=[Middleware(Passing), Middleware(GZipMiddleware), Middleware(Passing)],
)
deep_litestar = Litestar(
    route_handlers=[litestar_home, asgi("/deep/copilot", is_mount=True, copy_scope=True)(CopilotApp())]
)
bare = Starlette(routes=[Route("/", home)])

# Only what is mounted at the root sees what the server gave; the rest are mounts within this one.
app = CopilotMiddleware(
    Starlette(
        routes=[
            Mount("/t/{tenant}/copilot", CopilotApp()),
            Mount("/nested", routes=[Route("/", home), Mount("/a", routes=[Mount("/b/copilot", CopilotApp())])]),
            Mount("/middleware", behind_middleware),
            Mount("/fastapi", outer_api),
            Mount("/litestar", deep_litestar),
            Mount("/django", django_site),
            Mount("/beside", CopilotMiddleware(bare, app=CopilotApp(), path="/x/copilot")),
            Route("/", home),
        ]
    ),
    app=CopilotApp(),
    path="/some/where/else",
)
