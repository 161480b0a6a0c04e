"""A GitHub token for a Copilot token: one call, and what each answer of GitHub means.

Rule: GitHub's own sentence is passed on, cleaned and cut, followed by what the person can do about it. What another try
may mend says when; what only a person can mend never loops.
"""

import hashlib

from copilot_asgi.credentials.accounts import Account
from copilot_asgi.credentials.fetch import Fetch, FetchedResponse
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import Identity
from copilot_asgi.credentials.lifetime import CopilotToken, lifetime
from copilot_asgi.credentials.tolerant import json_object, mapping, number, text
from copilot_asgi.errors import (
    CredentialError,
    LoginRequired,
    TokenExchangeFailed,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from copilot_asgi.exchange import Headers, header
from copilot_asgi.secret import Secret, redact

__all__ = ["exchange", "github_authorization", "is_bearer_text", "login_digest", "refusal"]

LONGEST_SENTENCE = 300

ADVICE = {
    "no_copilot_access": "Ask for a seat or subscribe at https://github.com/settings/copilot.",
    "not_signed_up": "Subscribe, or take the free plan, at https://github.com/settings/copilot.",
    "subscription_ended": "Renew the subscription at https://github.com/settings/copilot.",
    "enterprise_managed_user_account": "Ask the administrator of your enterprise for a Copilot seat.",
    "feature_flag_blocked": "Ask the administrator of your organization to allow Copilot.",
    "spammy_user": "GitHub has flagged the account. Write to https://support.github.com.",
    "billing_locked": "Settle the account's billing at https://github.com/settings/billing.",
    "trade_restricted": "GitHub does not offer Copilot to this account.",
    "trade_restricted_country": "GitHub does not offer Copilot in this country.",
    "codespaces_demo_inactive": "The demonstration has ended. Subscribe at https://github.com/settings/copilot.",
    "snippy_not_configured": "Choose how to treat public code at https://github.com/settings/copilot.",
    "expired_coupon": "The coupon has expired. Subscribe at https://github.com/settings/copilot.",
    "revoked_coupon": "The coupon was revoked. Subscribe at https://github.com/settings/copilot.",
    "go_http_client": "GitHub refuses this kind of client. Use a GitHub app of your own (identity own_app).",
    "programmatic_token_generation": "GitHub refuses automated use of this account. Stop, and read GitHub's terms.",
    "access_revoked": "GitHub has withdrawn Copilot from the account. Write to https://support.github.com.",
    "server_error": "This is GitHub's fault; see https://www.githubstatus.com.",
}
ANY_ADVICE = "See https://github.com/settings/copilot for the account's Copilot access."


async def exchange(fetch: Fetch, account: Account, identity: Identity, hosts: GitHubHosts, now: float) -> CopilotToken:
    """The Copilot token that GitHub gives for ``account``; ``now`` is unix seconds.

    Raises ``LoginRequired`` when GitHub no longer accepts the login, ``TokenExchangeFailed`` for everything else.
    """
    headers = (*identity.auth_headers, (b"authorization", github_authorization(account.github_token)))
    try:
        response = await fetch("GET", f"{hosts.api}/copilot_internal/v2/token", headers=headers)
    except UpstreamTimeout:
        raise TokenExchangeFailed("GitHub did not answer in time when asked for a Copilot token.", status=504) from None
    except UpstreamUnavailable as error:
        raise TokenExchangeFailed(f"GitHub cannot be reached for a Copilot token: {error.message}") from error
    except UpstreamError:  # too large, broken off, or no HTTP at all
        raise _garbage() from None
    if response.status != 200:
        raise refusal(response, account, now)
    return _token(response, account, now)


def login_digest(token: Secret) -> str:
    """What tells one GitHub token from another without holding it: a SHA-256, safe as tokens are random."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()


def github_authorization(token: Secret) -> bytes:
    """The ``authorization`` value for GitHub's own API. Raises ``LoginRequired`` for what can be no token."""
    value = token.reveal()
    if not is_bearer_text(value):
        raise LoginRequired("The GitHub token holds characters that no token has. Run: copilot-asgi login")
    return f"token {value}".encode("ascii")


def is_bearer_text(value: str) -> bool:
    """Whether ``value`` may stand in an ``authorization`` header: printable ASCII without blanks."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def refusal(response: FetchedResponse, account: Account, now: float) -> CredentialError:
    """The error for an answer of GitHub's API that is not 200."""
    body = json_object(response.body)
    wait = _retry_after(response.headers, now)
    match response.status:
        case 401:
            return LoginRequired(
                f"GitHub no longer accepts the sign-in of {account.login}. Sign in again: copilot-asgi login"
            )
        case 403 if not _is_rate_limit(response.headers, body):
            return _no_access(body)
        case 403 | 429:
            return TokenExchangeFailed(
                "GitHub's rate limit for token requests is reached.", status=429, retry_after=wait or 60.0
            )
        case 404:
            return TokenExchangeFailed(
                "GitHub does not exchange this token for a Copilot token. Sign in with: copilot-asgi login, "
                "or set token_mode to direct.",
                status=403,
            )
        case status if status >= 500:
            return TokenExchangeFailed(
                f"GitHub answered with status {status} when asked for a Copilot token.", status=503, retry_after=wait
            )
        case status:
            return TokenExchangeFailed(
                f"GitHub answered with status {status} when asked for a Copilot token.", status=502
            )


def _token(response: FetchedResponse, account: Account, now: float) -> CopilotToken:
    body = json_object(response.body)
    value = text(body.get("token"))
    if value is None or not is_bearer_text(value):
        raise _garbage()
    return CopilotToken(
        token=Secret(value),
        obtained_at=now,
        lifetime=lifetime(number(body.get("expires_at")), number(body.get("refresh_in")), now),
        login_digest=login_digest(account.github_token),
        endpoint=text(mapping(body.get("endpoints")).get("api")),
        sku=text(body.get("sku")),
    )


def _no_access(body: dict[str, object]) -> TokenExchangeFailed:
    details = mapping(body.get("error_details"))
    reason = text(details.get("notification_id"))
    said = text(details.get("message")) or text(body.get("message")) or "no reason was given"
    advice = ANY_ADVICE if reason is None else ADVICE.get(reason, ANY_ADVICE)
    return TokenExchangeFailed(
        f"GitHub gives this account no Copilot token: {_clean(said)} {advice}", status=403, reason=reason
    )


def _is_rate_limit(headers: Headers, body: dict[str, object]) -> bool:
    said = (text(body.get("message")) or "").lower()
    return "rate limit" in said or header(headers, b"x-ratelimit-remaining") == b"0"


def _retry_after(headers: Headers, now: float) -> float | None:
    """Seconds that GitHub asks us to wait (its REST documentation: retry-after, else x-ratelimit-reset)."""
    wait = number((header(headers, b"retry-after") or b"").decode("latin-1"))
    if wait is None and header(headers, b"x-ratelimit-remaining") == b"0":
        reset = number((header(headers, b"x-ratelimit-reset") or b"").decode("latin-1"))
        wait = None if reset is None else reset - now
    return None if wait is None else min(max(wait, 1.0), 3600.0)


def _clean(sentence: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in sentence)
    return redact(" ".join(printable.split()))[:LONGEST_SENTENCE]


def _garbage() -> TokenExchangeFailed:
    return TokenExchangeFailed("GitHub's answer holds no Copilot token.", status=502)
