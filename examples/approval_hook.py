"""Copilot alone on any ASGI server, with a rule of one's own about what is sent: small models, and others by day only.

Run it:  uvicorn approval_hook:app --port 4141
"""

from datetime import datetime

from copilot_asgi import CopilotApp
from copilot_asgi.approvals import Approved, Denied, Question


def by_day_only(question: Question) -> Approved | Denied:
    """Asked about each request; a plain function runs in a thread, so it may call a site's database or a chat."""
    if question.model.endswith("-mini"):
        return Approved()
    hour = datetime.now().astimezone().hour
    if not 8 <= hour < 18:
        return Denied(f"{question.model} is for office hours, {question.caller}; try a mini model")
    return Approved()  # Approved(remember=True) is not asked again for approval_session_timeout seconds


app = CopilotApp(approve=by_day_only)
