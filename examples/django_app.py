"""A Django site with Copilot below /copilot: the dispatch belongs into the project's ``asgi.py``.

Run it:  uvicorn django_app:application
Try it:  curl localhost:8000/copilot/v1/models

Django's own middleware does not run for what is below /copilot: set COPILOT_ASGI_API_KEYS before callers from elsewhere
may come.
"""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from copilot_asgi import CopilotApp, CopilotMiddleware

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY="an example only")
django.setup()


async def home(request: HttpRequest) -> JsonResponse:
    """The site's own view."""
    return JsonResponse({"hello": f"from the host at {request.path}"})


urlpatterns = [path("", home)]

application = CopilotMiddleware(get_asgi_application(), app=CopilotApp(), path="/copilot")
