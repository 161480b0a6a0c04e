"""The host's own login names the caller."""

import pytest

from copilot_asgi.callers.host_user import HostUser
from copilot_asgi.errors import Unauthenticated
from copilot_asgi.exchange import Arrival, Caller

pytestmark = pytest.mark.anyio


def named(found: str | Caller | None) -> HostUser:
    return HostUser(lambda arrival: found)


async def by_user(arrival: Arrival) -> str | None:
    return getattr(arrival.user, "name", None)


def by_session(arrival: Arrival) -> str | None:
    session = arrival.session
    return session.get("user") if isinstance(session, dict) else None


class User:
    name = "ada"


@pytest.mark.parametrize(
    ("hook", "arrival"),
    [
        (by_user, Arrival(client=None, user=User())),
        (by_session, Arrival(client=None, session={"user": "ada"})),
        (lambda arrival: Caller(name="ada"), Arrival(client=None)),
    ],
)
async def test_the_host_names_the_caller(hook, arrival: Arrival) -> None:
    """Plain and async functions, over the scope's user, its session, or anything else."""
    assert await HostUser(hook)(arrival) == Caller(name="ada")


@pytest.mark.parametrize("hook", [by_user, by_session])
async def test_whom_the_host_does_not_know_is_refused(hook) -> None:
    """``None`` is nobody, wherever the request comes from."""
    with pytest.raises(Unauthenticated, match="Nobody is signed in"):
        await HostUser(hook)(Arrival(client="127.0.0.1"))


async def test_terms_of_a_caller_are_kept() -> None:
    """A host that gives a ``Caller`` decides everything about it; blanks around its name go."""
    caller = await named(Caller(name=" ada ", admin=True, models=("gpt-*",), max_concurrent=1))(Arrival(client=None))
    assert caller == Caller(name="ada", admin=True, models=("gpt-*",), max_concurrent=1)


@pytest.mark.parametrize("name", ["ada", " ada\t", "ada lovelace", "ada@example.org", "jos\u00e9", "x" * 128])
async def test_good_names(name: str) -> None:
    """Whatever is printable, without the blanks around it."""
    assert await named(name)(Arrival(client=None)) == Caller(name=name.strip())


@pytest.mark.parametrize("kind", [str, lambda name: Caller(name=name)])
@pytest.mark.parametrize(
    "name",
    ["", "  ", "a\nb", "a\r\nx-admin: yes", "a\x00", "\x1b]52;c;\x07", "a\x85b", "a\u2028b", "\u202eada", "x" * 129],
)
async def test_names_that_would_break_a_line_are_nobody(kind, name: str) -> None:
    """Names get into logs and headers, so control characters, direction marks and long texts are refused (S9)."""
    with pytest.raises(Unauthenticated, match="cannot be used") as caught:
        await named(kind(name))(Arrival(client=None))
    assert caught.value.message.isprintable()


async def test_what_the_function_raises_goes_on() -> None:
    """The host may refuse in words of its own."""

    async def refuse(arrival: Arrival) -> str:
        raise Unauthenticated("Your trial is over.")

    with pytest.raises(Unauthenticated, match="trial"):
        await HostUser(refuse)(Arrival(client=None))
