"""GitHub's REST side: who the user is, what their plan is, and the exchange of a GitHub token for a Copilot token.

Rule: both ``token X`` and ``Bearer X`` are understood; everything is answered in JSON.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer
from copilot_asgi.simulator.ledger import RESET_DATE, Ledger, free_quotas
from copilot_asgi.simulator.settings import Billing, Endpoints, Plan, SimulatorSettings
from copilot_asgi.simulator.tokens import GitHubToken, TokenRegistry

__all__ = ["GitHub"]

HOSTILE_API = "https://api.githubcopilot.com.attacker.example"
SKUS = {
    Plan.FREE: "free_limited_copilot",
    Plan.INDIVIDUAL: "monthly_subscriber_quota",
    Plan.BUSINESS: "copilot_for_business_seat_quota",
    Plan.ENTERPRISE: "copilot_enterprise_seat_quota",
}


class GitHub:
    """The REST routes that Copilot clients use."""

    def __init__(
        self, settings: SimulatorSettings, *, tokens: TokenRegistry, ledger: Ledger, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._ledger = ledger
        self._clock = clock
        self.exchanges = 0

    def user(self, request: Incoming) -> Answer:
        """``GET /user``."""
        token = self._token(request)
        if token is None:
            return _bad_credentials()
        login = token.login
        fields: Object = {"login": login, "id": 1, "type": "User", "name": login.title(), "email": None}
        return json_answer(fields, headers=(("x-oauth-scopes", token.scope),))

    def exchange(self, request: Incoming) -> Answer:
        """``GET /copilot_internal/v2/token``."""
        token = self._token(request)
        if token is None:
            return _bad_credentials()
        if not token.exchangeable:
            return json_answer({"message": "Not Found", "status": "404"}, status=404)
        self.exchanges += 1
        sku = SKUS[self._settings.plan]
        copilot = self._tokens.new_copilot(token.login, sku)
        fields: Object = {
            "token": copilot.value,
            "expires_at": int(copilot.expires_at + self._settings.clock_skew),
            "refresh_in": self._settings.refresh_in,
            "sku": sku,
            "individual": self._settings.plan in {Plan.FREE, Plan.INDIVIDUAL},
            "chat_enabled": True,
            "code_quote_enabled": True,
            "code_review_enabled": self._settings.plan is not Plan.FREE,
            "codesearch": True,
            "copilotignore_enabled": False,
            "public_suggestions": "disabled",
            "telemetry": "enabled",
            "limited_user_quotas": {"chat": 45, "completions": 1990} if self._settings.plan is Plan.FREE else None,
            "limited_user_reset_date": int(self._clock()) + 864_000 if self._settings.plan is Plan.FREE else None,
            "organization_list": [],
            "enterprise_list": None,
        }
        endpoints = self._endpoints()
        return json_answer(fields if endpoints is None else fields | {"endpoints": endpoints})

    def copilot_user(self, request: Incoming) -> Answer:
        """``GET /copilot_internal/user``."""
        token = self._token(request)
        if token is None:
            return _bad_credentials()
        settings = self._settings
        organizations = [] if settings.plan in {Plan.FREE, Plan.INDIVIDUAL} else ["octo-org"]
        timestamp = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        fields: Object = {
            "login": token.login,
            "access_type_sku": SKUS[settings.plan],
            "copilot_plan": settings.plan.value,
            "analytics_tracking_id": "0" * 32,
            "assigned_date": None,
            "can_signup_for_limited": False,
            "chat_enabled": True,
            "is_mcp_enabled": True,
            "token_based_billing": settings.billing is Billing.TOKENS,
            "organization_login_list": organizations,
            "organization_list": [{"login": name, "name": None} for name in organizations],
            "endpoints": {"api": self._user_api()},
            "quota_reset_date": RESET_DATE,
            "quota_reset_date_utc": f"{RESET_DATE}T00:00:00.000Z",
        }
        if settings.plan is Plan.FREE:
            return json_answer(fields | free_quotas())
        snapshots = self._ledger.snapshots(token.login, timestamp.replace("+00:00", "Z"))
        return json_answer(fields | {"quota_snapshots": snapshots})

    def _token(self, request: Incoming) -> GitHubToken | None:
        scheme, credential = request.authorization
        return self._tokens.github(credential) if scheme in {"token", "bearer"} else None

    def _endpoints(self) -> Object | None:
        match self._settings.endpoints:
            case Endpoints.MISSING:
                return None
            case Endpoints.HOSTILE:
                api = HOSTILE_API
            case Endpoints.NORMAL | Endpoints.DISAGREEING:
                api = self._settings.api_url
        domain = "individual.githubcopilot.com"
        others = {name: f"https://{name}.{domain}" for name in ("origin-tracker", "proxy", "telemetry")}
        return {"api": api, **others}

    def _user_api(self) -> str:
        if self._settings.endpoints is Endpoints.DISAGREEING:
            return self._settings.user_base_url or "https://api.enterprise.githubcopilot.com"
        return self._settings.user_base_url or self._settings.api_url


def _bad_credentials() -> Answer:
    fields = {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}
    return json_answer(fields, status=401)
