"""Copilot alone on any ASGI server, with settings in code instead of the environment.

Run it:  uvicorn standalone_app:app --port 4141
Without code of your own:  uvicorn copilot_asgi.asgi:app --port 4141
"""

from copilot_asgi import CopilotApp
from copilot_asgi.config_sources import load

app = CopilotApp(load({"max_streams": 8}).settings)
