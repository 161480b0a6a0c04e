"""The device flow as a pure generator."""

import contextlib
from urllib.parse import urlencode

import pytest
from fake_github import Answer, json_answer
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.credentials.device_flow import Flow, GrantedToken, Post, Resumed, Show, Wait, device_flow
from copilot_asgi.credentials.hosts import GitHubHosts
from copilot_asgi.credentials.identity import editor
from copilot_asgi.credentials.sign_in import GITHUB_ERRORS, github_service
from copilot_asgi.errors import (
    CredentialError,
    DeviceCodeFailed,
    DeviceFlowDenied,
    DeviceFlowExpired,
    DeviceFlowFailed,
)
from copilot_asgi.secret import Secret

SERVICE = github_service(editor(), GitHubHosts("https://github.com", "https://api.github.com"))
CODE = {
    "device_code": "sentinelDEVICE",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://github.com/login/device",
    "expires_in": 900,
    "interval": 5,
}
GRANTED = json_answer({"access_token": "ghu_granted0", "token_type": "bearer", "scope": "read:user"})
PENDING = json_answer({"error": "authorization_pending"})


class Played:
    """A flow, played with a clock of its own and a list of answers; waits are recorded."""

    def __init__(self, *polls: Answer | None, code: Answer | None = None) -> None:
        self.polls = list(polls)
        self.code = code or json_answer(CODE)
        self.waits: list[float] = []
        self.shown: list[Show] = []
        self.posts: list[Post] = []
        self.now = 0.0

    def run(self) -> GrantedToken:
        flow: Flow = device_flow(SERVICE)
        step = next(flow)
        try:
            while True:
                response = self.answer(step)
                step = flow.send(Resumed(self.now, response))
        except StopIteration as end:
            granted: GrantedToken = end.value
            return granted

    def answer(self, step: Post | Show | Wait) -> Answer | None:
        match step:
            case Show():
                self.shown.append(step)
            case Wait(seconds):
                self.waits.append(seconds)
                self.now += seconds
            case Post():
                self.posts.append(step)
                if len(self.posts) == 1:
                    return self.code
                return self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        return None


def slow_down(interval: object = None) -> Answer:
    return json_answer({"error": "slow_down", **({} if interval is None else {"interval": interval})})


def test_a_sign_in_from_beginning_to_end() -> None:
    """Ask for a code, show it, wait, poll until the person is done."""
    played = Played(PENDING, PENDING, GRANTED)
    assert played.run() == GrantedToken(Secret("ghu_granted0"), "read:user")
    assert played.waits == [5, 5, 5]
    assert played.posts[0] == Post(
        "https://github.com/login/device/code", (("client_id", editor().client_id), ("scope", "read:user"))
    )
    assert played.posts[1] == Post(
        "https://github.com/login/oauth/access_token",
        (
            ("client_id", editor().client_id),
            ("device_code", "sentinelDEVICE"),
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ),
    )
    assert played.shown[0].code.user_code == "ABCD-EFGH"
    assert played.shown[0].code.verification_uri == "https://github.com/login/device"


def test_the_device_code_is_never_printed() -> None:
    """No representation of any step holds it."""
    played = Played(GRANTED)
    played.run()
    assert "sentinel" not in f"{played.posts!r} {played.shown!r}"


@pytest.mark.parametrize(
    ("interval", "first"),
    [(0, 1), (-3, 1), (1, 1), ("7", 7), (3600, 60), (None, 5), ("soon", 5)],
)
def test_the_interval_is_clamped(interval: object, first: float) -> None:
    """Neither zero nor an hour: one to sixty seconds, five when none is given."""
    played = Played(GRANTED, code=json_answer({**CODE, "interval": interval}))
    played.run()
    assert played.waits == [first]


@pytest.mark.parametrize(
    ("polls", "waits"),
    [
        pytest.param([slow_down(), PENDING, GRANTED], [5, 10, 10], id="five seconds more, for good"),
        pytest.param([slow_down(), slow_down(), GRANTED], [5, 10, 15], id="and again"),
        pytest.param([slow_down(20), PENDING, GRANTED], [5, 20, 20], id="the server's larger interval"),
        pytest.param([slow_down(7), GRANTED], [5, 10], id="the server's smaller interval"),
        pytest.param([slow_down(99999), GRANTED], [5, 60], id="an absurd interval"),
        pytest.param([None, None, None, PENDING, GRANTED], [5, 10, 20, 40, 5], id="timeouts back off"),
        pytest.param([Answer(503)] * 6 + [GRANTED], [5, 10, 20, 40, 60, 60, 60], id="server errors back off"),
        pytest.param([Answer(429), GRANTED], [5, 10], id="rate limit backs off"),
        pytest.param([Answer(200, b"<html>portal</html>"), GRANTED], [5, 10], id="a captive portal backs off"),
        pytest.param([slow_down(60), slow_down(), None, GRANTED], [5, 60, 65, 65], id="never faster than allowed"),
    ],
)
def test_polling_follows_rfc_8628(polls: list[Answer | None], waits: list[float]) -> None:
    """The waits between polls are the RFC's, with exponential back-off on failures of the way."""
    played = Played(*polls)
    assert played.run().token == Secret("ghu_granted0")
    assert played.waits == waits


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("access_denied", DeviceFlowDenied),
        ("expired_token", DeviceFlowExpired),
        ("token_expired", DeviceFlowExpired),
        ("incorrect_device_code", DeviceFlowFailed),
        ("incorrect_client_credentials", DeviceFlowFailed),
        ("unsupported_grant_type", DeviceFlowFailed),
        ("device_flow_disabled", DeviceFlowFailed),
        ("brand_new_error", DeviceFlowFailed),
    ],
)
def test_every_error_ends_the_flow_in_its_own_words(code: str, kind: type[CredentialError]) -> None:
    """Each of GitHub's codes has its error; an unknown one is fatal and named."""
    for answer in (json_answer({"error": code}), json_answer({"error": code}, status=400)):
        with pytest.raises(kind) as caught:
            Played(PENDING, answer).run()
        if kind is DeviceFlowFailed:
            assert caught.value.code == code
        assert "sentinel" not in str(caught.value)


def test_the_words_differ() -> None:
    """No two causes share a message."""
    messages = {code: make().message for code, make in GITHUB_ERRORS.items() if code != "token_expired"}
    assert len(set(messages.values())) == len(messages)


def test_a_hostile_error_code_is_cleaned() -> None:
    """Terminal escapes and floods in an error code do not reach the screen."""
    for code in ("\x1b[2J" + "x" * 5000, "\u202e!"):
        with pytest.raises(DeviceFlowFailed) as caught:
            Played(json_answer({"error": code})).run()
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 200


def test_a_status_without_words_ends_the_flow() -> None:
    """A client error that does not speak OAuth will not get better."""
    with pytest.raises(DeviceFlowFailed) as caught:
        Played(Answer(404, b"<html>")).run()
    assert caught.value.code == "http_404"


@pytest.mark.parametrize("poll", [PENDING, None, Answer(500)])
def test_the_code_expires(poll: Answer | None) -> None:
    """Whatever happens between, polling ends when the code's life does."""
    played = Played(poll)
    with pytest.raises(DeviceFlowExpired):
        played.run()
    assert 900 <= played.now <= 960


@pytest.mark.parametrize(("expires_in", "end"), [(None, 900), ("x", 900), (0, 5), (1e9, 3600)])
def test_an_odd_life_is_clamped(expires_in: object, end: float) -> None:
    """A missing, zero or endless life still ends."""
    played = Played(PENDING, code=json_answer({**CODE, "expires_in": expires_in}))
    with pytest.raises(DeviceFlowExpired):
        played.run()
    assert played.now == end


def test_form_encoded_answers_are_understood() -> None:
    """GitHub answers in form encoding where JSON is not asked for, or not heard of."""
    granted = Answer(200, urlencode({"access_token": "ghu_granted0", "scope": ""}).encode())
    played = Played(
        Answer(200, b"error=slow_down&interval=9"),
        granted,
        code=Answer(200, urlencode({**CODE, "interval": 2}).encode()),
    )
    assert played.run() == GrantedToken(Secret("ghu_granted0"), None)
    assert played.waits == [2, 9]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (json_answer({"error": "device_flow_disabled"}, status=400), "device_flow_disabled"),
        (Answer(404), "status 404"),
        (Answer(200, b"\xff\xfe"), "status 200"),
        (Answer(200, b"a=1&" * 500), "status 200"),
        (json_answer({**CODE, "device_code": ""}), "status 200"),
        (json_answer({**CODE, "user_code": None}), "status 200"),
    ],
)
def test_no_code_is_an_error_that_says_why(code: Answer, said: str) -> None:
    """Without a code there is nothing to show."""
    with pytest.raises(DeviceCodeFailed, match=said):
        Played(GRANTED, code=code).run()


def test_no_answer_to_the_first_question() -> None:
    """Nobody waits in front of a screen for a lost request."""
    flow = device_flow(SERVICE)
    next(flow)
    with pytest.raises(DeviceCodeFailed, match="no answer came"):
        flow.send(Resumed(0.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_uri": "http://github.com/login/device"},
        {"verification_uri": "https://github.com.evil.example/login/device"},
        {"verification_uri": "https://user@github.com/login/device"},
        {"verification_uri": "https://github.com:8443/login/device"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://github.com/\x1b[31m"},
        {"verification_uri": None},
        {"user_code": "\x1b]52;c;x\x07"},
        {"user_code": "A" * 33},
    ],
)
def test_nothing_hostile_is_shown(changes: dict[str, object]) -> None:
    """Only the service's own address and a short printable code reach the person."""
    played = Played(GRANTED, code=json_answer({**CODE, **changes}))
    with pytest.raises(DeviceCodeFailed):
        played.run()
    assert played.shown == []


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "uml\u00e4ut", 5])
def test_a_token_that_is_none_is_not_taken(token: object) -> None:
    """What cannot stand in a header is no grant; polling goes on."""
    played = Played(json_answer({"access_token": token}), GRANTED)
    assert played.run().token == Secret("ghu_granted0")


@given(st.lists(st.binary(max_size=60) | st.none(), min_size=1, max_size=8), st.sampled_from([200, 400, 500]))
def test_any_answers_end_the_flow_in_time(bodies: list[bytes | None], status: int) -> None:
    """Garbage never loops, never polls faster than a second, and always ends in one of our errors or a token."""
    played = Played(*[None if body is None else Answer(status, body) for body in bodies])
    with contextlib.suppress(CredentialError):
        played.run()
    assert min(played.waits, default=1) >= 1
    assert played.now <= 960
