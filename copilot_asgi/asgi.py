"""What ASGI servers are pointed at: ``copilot_asgi.asgi:app``, or the factory ``copilot_asgi.asgi:create_app``.

Settings come from ``COPILOT_ASGI_*`` and ``copilot-asgi.toml``. Importing this opens nothing.
"""

from copilot_asgi.app import CopilotApp

__all__ = ["app", "create_app"]


def create_app() -> CopilotApp:
    """A new app with the settings of the environment. Raises ``ConfigError``."""
    return CopilotApp()


app = create_app()
