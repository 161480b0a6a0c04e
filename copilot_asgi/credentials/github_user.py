"""What GitHub says about the person behind a token: name, plan, API address, quotas.

Rule: the answer is read tolerantly. Numbers come as strings, snapshots as null, quotas as negative numbers; whatever
cannot be understood is missing, and never an error.
"""

import msgspec

from copilot_asgi.credentials.fetch import Fetch, FetchedResponse
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.token_exchange import github_authorization
from copilot_asgi.credentials.tolerant import flag, json_object, mapping, number, text
from copilot_asgi.errors import (
    LoginRequired,
    ResponseTooLarge,
    TokenExchangeFailed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from copilot_asgi.secret import Secret

__all__ = ["GitHubUser", "Quota", "fetch_user", "parse_user"]


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One allowance. ``None`` means that GitHub did not say; amounts are negative when the allowance is overdrawn."""

    id: str
    unlimited: bool = False
    entitlement: float | None = None
    remaining: float | None = None
    percent_remaining: float | None = None
    overage_count: float | None = None
    overage_permitted: bool = False


class GitHubUser(msgspec.Struct, frozen=True, kw_only=True):
    """The login and its Copilot plan; ``endpoint`` is the API address GitHub named, unchecked."""

    login: str
    plan: str | None = None
    sku: str | None = None
    endpoint: str | None = None
    token_based_billing: bool = False
    quota_reset: str | None = None
    quotas: tuple[Quota, ...] = ()


async def fetch_user(fetch: Fetch, token: Secret, hosts: GitHubHosts, identity: Identity) -> GitHubUser:
    """Who ``token`` belongs to: from Copilot's own user page, else the plain one, which knows the login only.

    Raises ``LoginRequired`` when GitHub does not accept the token, ``TokenExchangeFailed`` when it gives no answer.
    """
    response = await _get(fetch, f"{hosts.api}/copilot_internal/user", token, identity)
    user = parse_user(response.body) if response.status == 200 else None
    if user is not None:
        return user
    response = await _get(fetch, f"{hosts.api}/user", token, identity)
    login = text(json_object(response.body).get("login")) if response.status == 200 else None
    if login is None:
        raise TokenExchangeFailed(f"GitHub answered with status {response.status} when asked who is signed in.")
    return GitHubUser(login=login)


def parse_user(body: bytes) -> GitHubUser | None:
    """The user in an answer of ``/copilot_internal/user``, or ``None`` when it names no login."""
    fields = json_object(body)
    login = text(fields.get("login"))
    if login is None:
        return None
    return GitHubUser(
        login=login,
        plan=text(fields.get("copilot_plan")),
        sku=text(fields.get("access_type_sku")),
        endpoint=text(mapping(fields.get("endpoints")).get("api")),
        token_based_billing=flag(fields.get("token_based_billing")),
        quota_reset=_first_text(fields, "quota_reset_date_utc", "quota_reset_date", "limited_user_reset_date"),
        quotas=_snapshots(fields) or _limited(fields),
    )


async def _get(fetch: Fetch, url: str, token: Secret, identity: Identity) -> FetchedResponse:
    headers = (*identity.auth_headers, (b"authorization", github_authorization(token)))
    try:
        response = await fetch("GET", url, headers=headers)
    except UpstreamTimeout:
        raise TokenExchangeFailed("GitHub did not answer in time when asked who is signed in.", status=504) from None
    except (UpstreamUnavailable, ResponseTooLarge) as error:
        raise TokenExchangeFailed(f"GitHub did not say who is signed in: {error.message}") from error
    if response.status == 401:
        raise LoginRequired("GitHub does not accept the token. Sign in again: copilot-asgi login")
    return response


def _snapshots(fields: dict[str, object]) -> tuple[Quota, ...]:
    snapshots = mapping(fields.get("quota_snapshots"))
    return tuple(_snapshot(name, value) for name, value in snapshots.items() if isinstance(value, dict))


def _snapshot(name: str, fields: dict[str, object]) -> Quota:
    entitlement = number(fields.get("entitlement"))
    exact = number(fields.get("quota_remaining"))
    return Quota(
        id=name,
        unlimited=flag(fields.get("unlimited")) or entitlement == -1,
        entitlement=entitlement,
        remaining=number(fields.get("remaining")) if exact is None else exact,
        percent_remaining=number(fields.get("percent_remaining")),
        overage_count=number(fields.get("overage_count")),
        overage_permitted=flag(fields.get("overage_permitted")),
    )


def _limited(fields: dict[str, object]) -> tuple[Quota, ...]:
    """The free plan's allowances, which come as two maps of plain numbers."""
    left = mapping(fields.get("limited_user_quotas"))
    monthly = mapping(fields.get("monthly_quotas"))
    return tuple(_limited_quota(name, number(left.get(name)), number(monthly.get(name))) for name in left)


def _limited_quota(name: str, remaining: float | None, entitlement: float | None) -> Quota:
    known = remaining is not None and entitlement is not None and entitlement > 0
    percent = 100 * remaining / entitlement if known and remaining is not None and entitlement is not None else None
    return Quota(id=name, entitlement=entitlement, remaining=remaining, percent_remaining=percent)


def _first_text(fields: dict[str, object], *names: str) -> str | None:
    return next((value for name in names if (value := text(fields.get(name))) is not None), None)
