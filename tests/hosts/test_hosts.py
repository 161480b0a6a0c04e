"""The examples as written, and the app at other places and on other servers, as real processes over TCP."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from hosts.processes import Process, until
from hosts.sites import SITES, Site, documented
from hosts.talking import Answer, Call, ask, chat

from copilot_asgi.simulator import Fault, Simulator

pytestmark = pytest.mark.servers

BEHIND_MIDDLEWARE = next(site for site in SITES if site.name == "behind middleware")
AT_ONCE = 0.2  # seconds from the client's leaving to the simulator's noticing


def _one_for_each_server() -> list[Site]:
    """Sites on which each server ends once, and the one whose host is the most easily upset."""
    first = {site.server: site for site in reversed(SITES)}
    return [*first.values(), BEHIND_MIDDLEWARE]


def _name(site: Site) -> str:
    return site.name


class Place:
    """A site that answers."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url

    def ask(self, path: str, body: object = None, **headers: str) -> Answer:
        return ask(self.url, self.site.prefix + path, body, **headers)

    def call(self, body: object) -> Call:
        return Call(self.url, f"{self.site.prefix}/v1/chat/completions", body)


@pytest.fixture(params=SITES, ids=lambda site: site.name)
def place(request: pytest.FixtureRequest, start: Callable[[str], Process], simulator: Simulator) -> Place:
    return Place(request.param, start(request.param.server).url())


def test_the_hosts_own_page_still_works(place: Place) -> None:
    """What is not below the prefix is the host's."""
    answer = ask(place.url, place.site.home)

    assert answer.status == 200
    assert place.site.says in answer.body.decode()


def test_models_are_listed(place: Place) -> None:
    """GET models gives OpenAI's list, and Anthropic's to a client of Anthropic's."""
    openai = place.ask("/v1/models").json
    anthropic = place.ask("/v1/models", anthropic_version="2023-06-01").json

    assert openai["object"] == "list"
    assert "gpt-4.1" in [model["id"] for model in openai["data"]]
    assert anthropic["has_more"] in {True, False}
    assert {model["type"] for model in anthropic["data"]} == {"model"}


def test_a_chat_is_answered(place: Place) -> None:
    """A chat goes to the model and comes back as one JSON object."""
    answer = place.ask("/v1/chat/completions", chat("Hello there"))

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["choices"][0]["message"]["content"] == "You said: Hello there"


def test_a_stream_is_whole(place: Place, simulator: Simulator) -> None:
    """Every piece arrives, in order, and the first one while the model is still speaking."""
    with place.call(chat("[sim chunks=20 size=4 delay=0.01]", stream=True)) as call:
        first = call.text()
        speaking = simulator.open_streams
        rest = list(iter(call.text, ""))

    assert speaking == 1
    assert "".join([first, *rest]) == "".join(f"{index} ".rjust(4, ".") for index in range(20))
    assert simulator.disconnects == []


def test_nothing_is_held_back_and_leaving_closes_the_stream(place: Place, simulator: Simulator) -> None:
    """What upstream has sent arrives although nothing follows; when the client leaves, upstream is left at once."""
    with place.call(chat("[sim chunks=9 size=4 hang=6]", stream=True)) as call:
        assert call.text() == "..0 "
        assert simulator.disconnects == []
        assert _seconds_to_notice(call, simulator) < AT_ONCE


def test_leaving_before_the_head_closes_the_call(place: Place, simulator: Simulator) -> None:
    """When the client leaves while the model has not begun to answer, upstream is left at once."""
    simulator.enqueue(Fault(delay=600))
    with place.call(chat("Think for long", stream=True)) as call:
        until(lambda: simulator.open_streams == 1, "the model was asked")
        assert _seconds_to_notice(call, simulator) < AT_ONCE


@pytest.mark.parametrize(
    ("path", "body", "headers", "expected"),
    [
        ("/v1/chat/completions", chat("Hello", model="no-such"), {}, {"error": {"type": "invalid_request_error"}}),
        ("/v1/models/no-such", None, {}, {"error": {"type": "invalid_request_error"}}),
        ("/v1/nothing", None, {}, {"error": {"type": "invalid_request_error"}}),
        (
            "/v1/messages",
            chat("Hello", model="no-such", max_tokens=9),
            {},
            {"type": "error", "error": {"type": "not_found_error"}},
        ),
        (
            "/v1/models/no-such",
            None,
            {"anthropic_version": "2023-06-01"},
            {"type": "error", "error": {"type": "not_found_error"}},
        ),
    ],
)
def test_an_error_has_the_dialects_shape(
    place: Place, path: str, body: object, headers: dict[str, str], expected: dict[str, Any]
) -> None:
    """What is not there is a 404 in OpenAI's words, or in Anthropic's for a client of Anthropic's."""
    answer = place.ask(path, body, **headers)

    assert answer.status == 404
    assert _part_of(answer.json, expected) == expected


def test_the_address_next_to_the_prefix_is_not_ours(place: Place) -> None:
    """A path that only begins like the prefix finds nothing."""
    assert ask(place.url, f"{place.site.prefix or '/'}x/v1/models").status == 404


@pytest.mark.parametrize("example", ["starlette_app", "fastapi_app", "litestar_app", "django_app"])
def test_the_documented_try_works(example: str, start: Callable[[str], Process], simulator: Simulator) -> None:
    """The address that an example tells people to try is there."""
    [path] = [command.removeprefix("curl localhost:8000") for command in documented(example) if "curl" in command]

    assert ask(start(example.removesuffix("_app")).url(), path).json["object"] == "list"


@pytest.mark.parametrize("site", _one_for_each_server(), ids=_name)
def test_the_server_has_nothing_to_complain_of_and_ends(
    site: Site, start: Callable[[str], Process], simulator: Simulator
) -> None:
    """Clients that leave are no errors to the host; with one still connected, SIGTERM ends server and workers."""
    process = start(site.server)
    place, said_before = Place(site, process.url()), len(process.output)
    simulator.enqueue(Fault(delay=600))
    for body in (chat("Think for long", stream=True), chat("[sim chunks=9 hang=6]", stream=True)):
        with place.call(body) as call:
            until(lambda: simulator.open_streams == 1, "the model was asked")
            call.leave()
        until(lambda: simulator.open_streams == 0, "the model is left")

    with place.call(chat("Hello")) as call:
        assert call.response.read()
        assert process.stop() in {0, -signal.SIGTERM}

    assert "Traceback" not in process.output[said_before:]


def _seconds_to_notice(call: Call, simulator: Simulator) -> float:
    left_at = call.leave()
    until(lambda: len(simulator.disconnects) == 1, "the simulator is left")
    seconds = simulator.disconnects[0] - left_at
    print(f"upstream was closed {seconds * 1000:.1f} ms after the client left")
    return seconds


def _part_of(given: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Those keys of ``given`` that ``wanted`` has."""
    return {
        key: _part_of(given[key], value) if isinstance(value, dict) else given.get(key) for key, value in wanted.items()
    }
