"""Signing in to GitHub: the device flow with GitHub's addresses and errors, run over real HTTP and real time.

Rule: a lost poll costs nothing but time; every wait can be cancelled, and nothing is left behind when it is.
"""

import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import anyio

from copilot_asgi.credentials.device_flow import DeviceCode, Post, Resumed, Service, Show, device_flow
from copilot_asgi.credentials.fetch import Fetch, FetchedResponse
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.errors import (
    CredentialError,
    DeviceFlowDenied,
    DeviceFlowExpired,
    DeviceFlowFailed,
    UpstreamError,
)
from copilot_asgi.secret import Secret

__all__ = ["GITHUB_ERRORS", "github_service", "run_device_flow"]


def _failed(code: str, message: str) -> Callable[[], CredentialError]:
    return lambda: DeviceFlowFailed(message, code=code)


def _expired() -> CredentialError:
    return DeviceFlowExpired("The code has expired. Start again to get a new one.")


# The error codes of GitHub's documentation, "Authorizing OAuth apps", which names the expired one in two ways.
GITHUB_ERRORS: dict[str, Callable[[], CredentialError]] = {
    "access_denied": lambda: DeviceFlowDenied("The sign-in was cancelled on GitHub's page."),
    "expired_token": _expired,
    "token_expired": _expired,
    "incorrect_device_code": _failed("incorrect_device_code", "GitHub does not know the device code. Start again."),
    "incorrect_client_credentials": _failed(
        "incorrect_client_credentials", "GitHub does not know the client id. Check the setting client_id."
    ),
    "unsupported_grant_type": _failed(
        "unsupported_grant_type", "GitHub did not understand the request. Please report this."
    ),
    "device_flow_disabled": _failed(
        "device_flow_disabled", "The GitHub app does not allow the device flow. Switch it on in the app's settings."
    ),
}


def github_service(identity: Identity, hosts: GitHubHosts) -> Service:
    """GitHub (or a tenant of its enterprise cloud) as a device flow service, for the identity's OAuth client."""
    return Service(
        name="GitHub",
        web=hosts.web,
        code_url=f"{hosts.web}/login/device/code",
        token_url=f"{hosts.web}/login/oauth/access_token",
        client_id=identity.client_id,
        scope=identity.scope,
        errors=GITHUB_ERRORS,
    )


async def run_device_flow(
    fetch: Fetch,
    identity: Identity,
    hosts: GitHubHosts,
    *,
    show: Callable[[DeviceCode], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Secret:
    """Sign a person in and return the GitHub token; ``show`` tells the person where to type the code.

    Raises ``DeviceCodeFailed``, ``DeviceFlowDenied``, ``DeviceFlowExpired`` or ``DeviceFlowFailed``.
    """
    flow = device_flow(github_service(identity, hosts))
    step = next(flow)
    while True:
        response = None
        if isinstance(step, Post):
            response = await _post(fetch, identity, step)
        elif isinstance(step, Show):
            await show(step.code)
        else:
            await sleep(step.seconds)
        try:
            step = flow.send(Resumed(clock(), response))
        except StopIteration as end:
            token: Secret = end.value.token
            return token


async def _post(fetch: Fetch, identity: Identity, post: Post) -> FetchedResponse | None:
    """The response, or ``None`` when none came that could be read."""
    headers = (*identity.auth_headers, (b"content-type", b"application/x-www-form-urlencoded"))
    try:
        return await fetch("POST", post.url, headers=headers, content=urlencode(post.form).encode("ascii"))
    except UpstreamError:
        return None
