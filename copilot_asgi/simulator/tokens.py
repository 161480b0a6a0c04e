"""The tokens the simulated GitHub has handed out, and whose they are.

Rule: a token that was not handed out here opens nothing; revoked and expired ones are remembered, so that each gets the
answer the real service gives to its kind.
"""

from collections.abc import Callable
from enum import Enum
from random import Random
from string import ascii_letters, digits

import msgspec

from copilot_asgi.simulator.settings import SimulatorSettings

__all__ = ["CopilotToken", "GitHubToken", "Kind", "TokenRegistry", "kind_of"]

_GITHUB_PREFIXES = ("ghu_", "gho_", "ghs_", "github_pat_")


class Kind(Enum):
    """What a credential looks like."""

    NONE = "none"
    GITHUB = "github"
    CLASSIC_PAT = "classic_pat"
    COPILOT = "copilot"
    OTHER = "other"


class GitHubToken(msgspec.Struct, frozen=True, kw_only=True):
    """A user's token; ``exchangeable`` is false for apps whose tokens only work directly."""

    value: str
    login: str
    scope: str
    exchangeable: bool = True


class CopilotToken(msgspec.Struct, frozen=True, kw_only=True):
    """An exchanged token and when it stops working, by the simulator's own clock."""

    value: str
    login: str
    expires_at: float


def kind_of(credential: str) -> Kind:
    """What sort of token ``credential`` looks like."""
    if not credential:
        return Kind.NONE
    if credential.startswith("ghp_"):
        return Kind.CLASSIC_PAT
    if credential.startswith(_GITHUB_PREFIXES):
        return Kind.GITHUB
    return Kind.COPILOT if credential.startswith("tid=") else Kind.OTHER


class TokenRegistry:
    """Tokens by value."""

    def __init__(self, settings: SimulatorSettings, *, clock: Callable[[], float], random: Random) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random
        self._github: dict[str, GitHubToken] = {}
        self._copilot: dict[str, CopilotToken] = {}

    def new_github(
        self, login: str, *, prefix: str = "ghu_", scope: str = "", exchangeable: bool = True
    ) -> GitHubToken:
        """A token as the device flow yields it."""
        value = prefix + "".join(self._random.choices(ascii_letters + digits, k=36))
        token = GitHubToken(value=value, login=login, scope=scope, exchangeable=exchangeable)
        self._github[value] = token
        return token

    def new_copilot(self, login: str, sku: str) -> CopilotToken:
        """A token as the exchange yields it; what it says of its end is by GitHub's clock, which may be ahead."""
        expires_at = self._clock() + self._settings.token_lifetime
        said = int(expires_at + self._settings.clock_skew)
        tid, mac = f"{self._random.getrandbits(64):016x}", f"{self._random.getrandbits(64):016x}"
        proxy = f"proxy.{self._settings.plan.value}.githubcopilot.com"
        value = f"tid={tid};exp={said};sku={sku};proxy-ep={proxy};rt=1;ssc=0;mcp=1;ccr=1:{mac}"
        token = CopilotToken(value=value, login=login, expires_at=expires_at)
        self._copilot[value] = token
        return token

    def github(self, value: str) -> GitHubToken | None:
        """The live GitHub token of that value."""
        return self._github.get(value)

    def copilot(self, value: str) -> CopilotToken | None:
        """The Copilot token of that value, expired or not."""
        return self._copilot.get(value)

    def is_live(self, token: CopilotToken) -> bool:
        """Whether ``token`` still opens the Copilot API."""
        return self._clock() < token.expires_at

    def expire_copilot(self) -> None:
        """Let every Copilot token end now."""
        now = self._clock()
        for value, token in self._copilot.items():
            self._copilot[value] = msgspec.structs.replace(token, expires_at=min(now, token.expires_at))

    def revoke_github(self) -> None:
        """Let every GitHub token become unknown, as when a user revokes the app."""
        self._github.clear()
