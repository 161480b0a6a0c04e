"""What programs do beside chatting: embeddings, lists of models, refusals, keys, and the Responses API.

Rule: a check raises when the SDK's user would not get what the SDK promises.
"""

import base64
import json
from functools import partial

import openai
from openai import OpenAI
from sdk.bench import CITY, Bench, refused, user, valid

CHAT_MODEL = "claude-sonnet-4.6"
RESPONSES_MODEL = "gpt-5.4"
EMBEDDINGS_MODEL = "text-embedding-3-small"


def embeddings(bench: Bench) -> None:
    one = bench.client.embeddings.create(model=EMBEDDINGS_MODEL, input="Hello")
    more = bench.client.embeddings.create(model=EMBEDDINGS_MODEL, input=["Hello", "World"])
    for answer in (one, more):
        valid(answer)
    assert [item.index for item in more.data] == [0, 1]
    assert len(one.data[0].embedding) == 1536
    assert one.data[0].embedding == more.data[0].embedding != more.data[1].embedding


def embeddings_as_floats(bench: Bench) -> None:
    create = bench.client.embeddings.with_raw_response.create
    raw = create(model=EMBEDDINGS_MODEL, input="Hello", encoding_format="float", dimensions=8)
    numbers = raw.parse().data[0].embedding
    assert json.loads(raw.content)["data"][0]["embedding"] == numbers
    by_default = bench.client.embeddings.create(model=EMBEDDINGS_MODEL, input="Hello", dimensions=8)
    assert [round(number, 5) for number in by_default.data[0].embedding] == [round(number, 5) for number in numbers]


def embeddings_as_base64(bench: Bench) -> None:
    create = bench.client.embeddings.with_raw_response.create
    raw = create(model=EMBEDDINGS_MODEL, input="Hello", encoding_format="base64", dimensions=8)
    assert len(base64.b64decode(json.loads(raw.content)["data"][0]["embedding"], validate=True)) == 8 * 4


def models(bench: Bench) -> None:
    page = bench.client.models.list()
    for model in page:
        valid(model)
    assert {CHAT_MODEL, RESPONSES_MODEL, EMBEDDINGS_MODEL} <= {model.id for model in page}
    one = bench.client.models.retrieve(CHAT_MODEL)
    valid(one)
    assert (one.id, one.object) == (CHAT_MODEL, "model")


def unknown_model(bench: Bench) -> None:
    create = partial(bench.client.chat.completions.create, model="gpt-4.2", messages=user("Hello"))
    for call in (create, partial(create, stream=True), partial(bench.client.models.retrieve, "no-such")):
        assert refused(openai.NotFoundError, call).code == "model_not_found"


def bad_request(bench: Bench) -> None:
    create = bench.client.chat.completions.create
    error = refused(openai.BadRequestError, partial(create, model=EMBEDDINGS_MODEL, messages=user("Hello")))
    assert error.param == "model"
    refused(openai.BadRequestError, partial(create, model="gpt-4.1", messages=[]))
    refused(openai.BadRequestError, partial(bench.client.embeddings.create, model=EMBEDDINGS_MODEL, input=[]))


def keys(bench: Bench) -> None:
    wrong = OpenAI(base_url=f"{bench.keyed_url}/v1", api_key="not-the-key", max_retries=0)
    for call in (wrong.models.list, partial(wrong.chat.completions.create, model="gpt-4.1", messages=user("Hello"))):
        refused(openai.AuthenticationError, call)
    right = OpenAI(base_url=f"{bench.keyed_url}/v1", api_key=bench.key, max_retries=0)
    answer = right.chat.completions.create(model="gpt-4.1", messages=user("Hello"))
    assert answer.choices[0].message.content == "You said: Hello"


def responses(bench: Bench) -> None:
    answer = bench.client.responses.create(model=RESPONSES_MODEL, input="Hello")
    assert answer.status == "completed"
    assert answer.output_text == "You said: Hello"
    assert answer.usage
    assert answer.usage.total_tokens > 0


def responses_streamed(bench: Bench) -> None:
    events = list(bench.client.responses.create(model=RESPONSES_MODEL, input="Hello", stream=True))
    assert [event.type for event in (events[0], events[-1])] == ["response.created", "response.completed"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "You said: Hello"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


def responses_are_valid(bench: Bench) -> None:
    valid(bench.client.responses.create(model=RESPONSES_MODEL, input="Hello"))


def response_events_are_valid(bench: Bench) -> None:
    for event in bench.client.responses.create(model=RESPONSES_MODEL, input="Hello", stream=True):
        valid(event)


def responses_helper(bench: Bench) -> None:
    with bench.client.responses.stream(model=RESPONSES_MODEL, input="Hello") as events:
        for _ in events:
            pass
        assert events.get_final_response().output_text == "You said: Hello"


def responses_tools(bench: Bench) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": CITY, "strict": False}
    question = user("Use get_weather with city=Paris")
    asked = bench.client.responses.create(model=RESPONSES_MODEL, input=question, tools=[tool], store=False)
    [call] = [item for item in asked.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Paris"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    history = [*question, call, result]
    answer = bench.client.responses.create(model=RESPONSES_MODEL, input=history, tools=[tool], store=False)
    assert answer.output_text == "The tool says: Sunny"


ONCE = (
    embeddings, embeddings_as_floats, embeddings_as_base64, models, unknown_model, bad_request, keys,
    responses, responses_streamed, responses_helper, responses_tools, responses_are_valid, response_events_are_valid,
)  # fmt: skip
