"""A Starlette site whose own login decides who may call Copilot below /copilot, and under which name.

Run it:  uvicorn host_login:app
Try it:  curl -c jar -d "name=ada&password=lovelace" localhost:8000/login
         curl -b jar localhost:8000/copilot/v1/models
"""

import hmac
import secrets
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from copilot_asgi import Caller, CopilotApp
from copilot_asgi.callers.host_user import HostUser
from copilot_asgi.exchange import Arrival

PASSWORDS = {"ada": "lovelace", "guest": "welcome"}  # an example only: a site keeps salted hashes
sessions: dict[str, str] = {}


class Sessions(AuthenticationBackend):
    """The site's login: a cookie that names a session."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = sessions.get(conn.cookies.get("session", ""))
        return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))


async def caller(arrival: Arrival) -> Caller | None:
    """Who the site says it is, and what that person may do; nobody without a login."""
    if not isinstance(arrival.user, SimpleUser):
        return None
    guest = arrival.user.username == "guest"
    return Caller(name=arrival.user.username, models=("*-mini",) if guest else ())


async def login(request: Request) -> Response:
    """Begin a session for whoever knows a password."""
    form = parse_qs((await request.body()).decode(errors="replace"))
    name, password = form.get("name", [""])[0], form.get("password", [""])[0]
    if not hmac.compare_digest(PASSWORDS.get(name, "").encode(), password.encode()) or not password:
        return PlainTextResponse("No such name, or another password.", status_code=403)
    session = secrets.token_urlsafe()
    sessions[session] = name
    response = PlainTextResponse(f"hello {name}")
    response.set_cookie("session", session, httponly=True, samesite="strict")
    return response


copilot = CopilotApp(authenticate=HostUser(caller))

app = Starlette(
    routes=[Route("/login", login, methods=["POST"]), Mount("/copilot", copilot)],
    middleware=[Middleware(AuthenticationMiddleware, backend=Sessions())],
)
