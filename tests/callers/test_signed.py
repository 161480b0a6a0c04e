"""Signed requests: a signature fits one request, once, for a while."""

import hashlib
import hmac

import msgspec
import pytest
from stages.bench import Clock

from copilot_asgi.callers.signed import SIGNATURE, SignedRequests, sign
from copilot_asgi.errors import ConfigError, RateLimited, Unauthenticated
from copilot_asgi.exchange import Arrival, Caller, Headers
from copilot_asgi.secret import Secret

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
SECRET = Secret("a shared secret")
SECRETS = {"robot": SECRET, "other": Secret("another secret")}
CALL = Arrival(client="192.0.2.7", method="POST", path="/copilot/v1/messages", query="beta=true", body=b'{"model":"m"}')


def signed(call: Arrival = CALL, *, name: str = "robot", secret: Secret = SECRET, now: float = NOW) -> Arrival:
    headers = sign(secret, name=name, method=call.method, path=call.path, query=call.query, body=call.body, now=now)
    return msgspec.structs.replace(call, headers=headers)


def checker(**more: object) -> SignedRequests:
    return SignedRequests(SECRETS, clock=Clock(NOW), **more)


async def test_a_signed_request_is_let_in() -> None:
    """From anywhere, under the name that goes with the secret."""
    assert await checker()(signed()) == Caller(name="robot")
    assert await checker()(signed(name="other", secret=SECRETS["other"])) == Caller(name="other")
    bare = Arrival(client=None, method="GET", path="/v1/models")
    assert await checker()(signed(bare)) == Caller(name="robot")


def test_what_is_signed_is_as_documented() -> None:
    """Anybody can compute it: version, time, method, path and query, and the body's SHA-256."""
    text = f"v1:1800000000:POST:/copilot/v1/messages?beta=true:{hashlib.sha256(CALL.body).hexdigest()}"
    expected = hmac.new(b"a shared secret", text.encode(), hashlib.sha256).hexdigest()
    assert signed(now=NOW + 0.9).headers == (
        (b"x-signature-key", b"robot"),
        (b"x-signature-timestamp", b"1800000000"),
        (b"x-signature", expected.encode()),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/copilot/v1/message"},
        {"path": "/copilot/v1/messages/"},
        {"path": "/v1/messages"},
        {"path": "/copilot/v1/messages?beta=true", "query": ""},
        {"query": ""},
        {"query": "beta=false"},
        {"query": "beta=true&x"},
        {"body": b'{"model":"n"}'},
        {"body": b""},
    ],
)
async def test_what_was_not_signed_is_refused(change: dict[str, object]) -> None:
    """A signature fits its method, path, query and body, and nothing else."""
    with pytest.raises(Unauthenticated, match="does not fit"):
        await checker()(msgspec.structs.replace(signed(), **change))


async def test_one_text_is_one_request() -> None:
    """A question mark in a path could be read as the query's, so such a path is never signed."""
    call = signed(msgspec.structs.replace(CALL, path="/v1/models/a", query="b?c"))
    assert await checker()(call) == Caller(name="robot")
    with pytest.raises(Unauthenticated, match="does not fit"):
        await checker()(msgspec.structs.replace(call, path="/v1/models/a?b", query="c"))


def changed(headers: Headers, name: bytes, value: bytes | None) -> Headers:
    return tuple((key, value if key == name else kept) for key, kept in headers if key != name or value is not None)


GIVEN = dict(signed().headers)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, None, "once each") for name in GIVEN),
        *((name, b"", "does not fit") for name in GIVEN),
        (b"x-signature-key", b"Robot", "does not fit"),
        (b"x-signature-key", b"robot2", "does not fit"),
        (b"x-signature-key", b"other", "does not fit"),
        (b"x-signature-key", b"\xff", "does not fit"),
        (b"x-signature-timestamp", b"1800000001", "does not fit"),
        (b"x-signature-timestamp", b"now", "does not fit"),
        (b"x-signature", b"0" * 64, "does not fit"),
        (b"x-signature", GIVEN[SIGNATURE].upper() + b"0", "does not fit"),
        (b"x-signature", GIVEN[SIGNATURE][:-1], "does not fit"),
        (b"x-signature", b"\xe9" * 64, "does not fit"),
    ],
)
async def test_headers_that_do_not_fit_are_refused(name: bytes, value: bytes | None, message: str) -> None:
    """Missing, empty, strange or somebody else's; a name in other letters is another name (L5)."""
    call = signed()
    with pytest.raises(Unauthenticated, match=message):
        await checker()(msgspec.structs.replace(call, headers=changed(call.headers, name, value)))


@pytest.mark.parametrize("name", GIVEN)
async def test_a_header_that_is_there_twice_is_refused(name: bytes) -> None:
    """Also when both say the same: which one counts is nobody's guess."""
    call = signed()
    with pytest.raises(Unauthenticated, match="once each"):
        await checker()(msgspec.structs.replace(call, headers=(*call.headers, (name, GIVEN[name]))))


@pytest.mark.parametrize(("off", "fits"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
async def test_the_time_must_be_near(off: int, fits: bool) -> None:
    """Five minutes either way, to the second."""
    call = signed(now=NOW + off)
    if fits:
        assert await checker()(call) == Caller(name="robot")
        return
    with pytest.raises(Unauthenticated, match="too old, or from the future"):
        await checker()(call)


@pytest.mark.parametrize("timestamp", ["", "-5", "1.8e9", "nan", "+1800000000", "1" * 13, "\u00b2"])
async def test_a_time_is_a_plain_number(timestamp: str) -> None:
    """Whoever holds the secret cannot sign odd times either."""
    body = hashlib.sha256(CALL.body).hexdigest()
    text = f"v1:{timestamp}:POST:{CALL.path}?{CALL.query}:{body}"
    signature = hmac.digest(SECRET.reveal().encode(), text.encode(), "sha256").hex()
    headers = (
        (b"x-signature-key", b"robot"),
        (b"x-signature-timestamp", timestamp.encode("latin-1")),
        (b"x-signature", signature.encode()),
    )
    with pytest.raises(Unauthenticated, match="whole unix seconds"):
        await checker()(msgspec.structs.replace(CALL, headers=headers))


async def test_a_signature_is_good_once() -> None:
    """For as long as it could be used, and not again after that; the next second's is another one."""
    clock = Clock(NOW)
    check = SignedRequests(SECRETS, clock=clock)
    call = signed(now=NOW + 300)
    await check(call)
    for later in (0, 300, 600):
        clock.now = NOW + later
        with pytest.raises(Unauthenticated, match="used before"):
            await check(call)
    clock.now = NOW + 601
    with pytest.raises(Unauthenticated, match="too old"):
        await check(call)
    await check(signed(now=NOW + 601))


async def test_a_full_memory_refuses() -> None:
    """Rather than let an old signature in again; what does not fit takes no room."""
    check = checker(memory=1)
    for number in range(3):
        with pytest.raises(Unauthenticated):
            await check(signed(secret=Secret(f"wrong {number}")))
    await check(signed())
    with pytest.raises(RateLimited) as caught:
        await check(signed(now=NOW + 1))
    assert caught.value.retry_after == 300.0


@pytest.mark.parametrize("name", ["robot", "nobody"])
async def test_an_unknown_name_takes_the_same_work(name: str) -> None:
    """One comparison of two signatures of one length, whether the name is known or not (S6)."""
    compared: list[tuple[bytes, bytes]] = []

    def counting(expected: bytes, given: bytes) -> bool:
        compared.append((expected, given))
        return hmac.compare_digest(expected, given)

    with pytest.raises(Unauthenticated, match="does not fit"):
        await checker(compare=counting)(signed(name=name, secret=Secret("wrong")))
    assert [(len(expected), len(given)) for expected, given in compared] == [(64, 64)]


async def test_nobody_signs_with_what_stands_for_strangers() -> None:
    """Even a comparison that says yes lets no unknown name in."""
    with pytest.raises(Unauthenticated, match="does not fit"):
        await checker(compare=lambda expected, given: True)(signed(name="nobody"))


@pytest.mark.parametrize(
    "secrets", [{"": SECRET}, {"a\nb": SECRET}, {" a": SECRET}, {"\u00e9": SECRET}, {"a": Secret("")}]
)
def test_names_and_secrets_are_checked(secrets: dict[str, Secret]) -> None:
    """An empty secret would be everybody's, and a name must fit into a header."""
    with pytest.raises(ConfigError, match=r"^secrets: "):
        SignedRequests(secrets)
