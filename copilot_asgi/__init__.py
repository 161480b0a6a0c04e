"""A GitHub Copilot subscription as OpenAI- and Anthropic-compatible endpoints, in one raw ASGI callable.

Names are loaded at first use, so that importing the package costs next to nothing.
"""

TYPE_CHECKING = False  # type checkers take this name for True; importing it would cost more than all the rest

if TYPE_CHECKING:
    from copilot_asgi.app import CopilotApp as CopilotApp
    from copilot_asgi.config import Settings as Settings
    from copilot_asgi.controls import Controls as Controls
    from copilot_asgi.exchange import Arrival as Arrival
    from copilot_asgi.exchange import Caller as Caller
    from copilot_asgi.exchange import Exchange as Exchange
    from copilot_asgi.exchange import Handler as Handler
    from copilot_asgi.exchange import Head as Head
    from copilot_asgi.exchange import Part as Part
    from copilot_asgi.exchange import Request as Request
    from copilot_asgi.exchange import Send as Send
    from copilot_asgi.exchange import Stage as Stage
    from copilot_asgi.mount import CopilotMiddleware as CopilotMiddleware
    from copilot_asgi.secret import Secret as Secret
    from copilot_asgi.upstream.client import Upstream as Upstream

__version__ = "0.1.0"

_HOMES = {
    "Arrival": "exchange",
    "Caller": "exchange",
    "Controls": "controls",
    "CopilotApp": "app",
    "CopilotMiddleware": "mount",
    "Exchange": "exchange",
    "Handler": "exchange",
    "Head": "exchange",
    "Part": "exchange",
    "Request": "exchange",
    "Secret": "secret",
    "Send": "exchange",
    "Settings": "config",
    "Stage": "exchange",
    "Upstream": "upstream.client",
}

__all__ = [
    "Arrival",
    "Caller",
    "Controls",
    "CopilotApp",
    "CopilotMiddleware",
    "Exchange",
    "Handler",
    "Head",
    "Part",
    "Request",
    "Secret",
    "Send",
    "Settings",
    "Stage",
    "Upstream",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'copilot_asgi' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"copilot_asgi.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
