"""Copilot with a system prompt in front of every request, whichever vendor's client sends it.

Run it:  uvicorn transform_requests:app --port 4141
"""

from copilot_asgi import CopilotApp
from copilot_asgi.transforms import add_system_prompt

app = CopilotApp(transform_request=add_system_prompt("Answer in one sentence."))
