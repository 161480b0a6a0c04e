"""A FastAPI site with Copilot below /copilot.

Run it:  uvicorn fastapi_app:app
Try it:  curl localhost:8000/copilot/v1/models
"""

from fastapi import FastAPI

from copilot_asgi import CopilotApp

copilot = CopilotApp()
app = FastAPI(lifespan=copilot.lifespan)  # the lifespan is optional


@app.get("/")
async def home() -> dict[str, str]:
    """The site's own route."""
    return {"hello": "from the host"}


# FastAPI's dependencies do not guard a mount: set COPILOT_ASGI_API_KEYS before callers from elsewhere may come.
app.mount("/copilot", copilot)
