"""The pipeline's stages in order, outermost first, each with the reason why it sits there."""

from collections.abc import Sequence

from copilot_asgi.exchange import Stage
from copilot_asgi.stages.identify import Authenticator, Identify, authenticator_for
from copilot_asgi.stages.keep_alive import KeepAlive
from copilot_asgi.stages.lease import Lease
from copilot_asgi.stages.load import answer_load_requests
from copilot_asgi.stages.retry import Retry, retry_once
from copilot_asgi.stages.route import ChooseRoute
from copilot_asgi.stages.translation import Translation
from copilot_asgi.upstream.client import Upstream

__all__ = ["counting", "default"]


def default(upstream: Upstream, authenticate: Authenticator | None = None) -> Sequence[Stage]:
    """The stages that serve a request when nobody says otherwise. Raises ``ConfigError``."""
    return (
        Identify(authenticate or authenticator_for(upstream.settings)),  # first: nothing is done for strangers
        ChooseRoute(upstream),  # before any token is taken: an unknown model costs nothing
        answer_load_requests,  # before anything is sent: there is nothing to ask upstream
        KeepAlive(upstream.settings.keep_alive_interval),  # outside translation: a ping stands between whole events
        Translation(strict=upstream.settings.strict),  # around retry: a request must not be prepared twice
        Retry(retry_once),  # around the lease: another try takes a fresh token
        Lease(upstream),  # innermost: one lease is one attempt
    )


def counting(upstream: Upstream, authenticate: Authenticator | None = None) -> Sequence[Stage]:
    """The stages in front of counting tokens: who asks, and which model would answer. Raises ``ConfigError``."""
    return (
        Identify(authenticate or authenticator_for(upstream.settings)),  # first: nothing is done for strangers
        ChooseRoute(upstream),  # the count depends on the model
    )
