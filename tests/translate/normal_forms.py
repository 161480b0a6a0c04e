"""One form for what the formats let you write in several ways, so that a free choice is no difference.

Rule: expectations go through here as well as answers, so a value may be an operator (an object) where text is expected.
"""

import copy
from collections.abc import Iterator

__all__ = ["normal_request", "normal_stream"]

PIECES = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}
SILENT = {"response.in_progress", "response.queued", "keepalive"}


def normal_request(dialect: str, body: dict) -> dict:
    """A request in the one form of its dialect."""
    return REQUESTS[dialect](copy.deepcopy(body))


def normal_stream(dialect: str, events: list[dict], *, reasoning: bool = True) -> list[dict]:
    """A stream in the one form of its dialect; Chat's private reasoning keys only if asked for."""
    events = copy.deepcopy(events)
    if dialect == "chat":
        return chat_stream(events, reasoning=reasoning)
    return STREAMS[dialect](events)


def parts(content: object, kind: str) -> object:
    """Content as a list of parts; nothing, however it is written, as None."""
    if isinstance(content, str):
        return [{"type": kind, "text": content}] if content else None
    return content or None


def chat_request(body: dict) -> dict:
    if "messages" not in body:
        return body
    for message in body["messages"]:
        message["role"] = "system" if message["role"] == "developer" else message["role"]
        if "content" in message:
            message["content"] = parts(message["content"], "text")
        if message["role"] == "system" and isinstance(message["content"], dict):
            message["content"] = [{"type": "text", "text": message["content"]}]
    leading = 0
    while leading < len(body["messages"]) and body["messages"][leading]["role"] == "system":
        leading += 1
    texts = [part["text"] for message in body["messages"][:leading] for part in message["content"] or []]
    if texts:
        # An operator stands alone; only plain texts can be joined.
        text = "\n\n".join(texts) if all(isinstance(text, str) for text in texts) else texts[0]
        body["messages"][:leading] = [{"role": "system", "content": [{"type": "text", "text": text}]}]
    return body


def messages_request(body: dict) -> dict:
    if isinstance(body.get("system"), list):
        body["system"] = "\n\n".join(block.get("text", "") for block in body["system"])
    if "messages" not in body:
        return body
    merged: list[dict] = []
    for message in body["messages"]:
        message["content"] = parts(message.get("content"), "text") or []
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block.get("type") == "tool_result":
                block["content"] = parts(block.get("content"), "text")
        if merged and merged[-1]["role"] == message["role"] and isinstance(message["content"], list):
            merged[-1]["content"].extend(message["content"])
        else:
            merged.append(message)
    return {**body, "messages": merged}


def responses_request(body: dict) -> dict:
    if isinstance(body.get("input"), str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    texts = [body["instructions"]] if isinstance(body.get("instructions"), str) else []
    items: list[dict] = []
    for item in body.get("input", []):
        if item.get("type") in {None, "message"}:
            item.pop("type", None)
            kind = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = parts(item.get("content"), kind)
            if item.get("role") in {"system", "developer"} and not items and isinstance(item["content"], list):
                texts += [part["text"] for part in item["content"]]
                continue
        items.append(item)
    joined = "\n\n".join(filter(None, texts))
    return body | ({"instructions": joined} if joined else {}) | ({"input": items} if "input" in body else {})


def messages_stream(events: list[dict]) -> list[dict]:
    """Without pings and empty deltas; neighbouring deltas of one kind in one block are one."""
    out: list[dict] = []
    for event in events:
        data = event.get("data", {})
        delta = data.get("delta", {}) if data.get("type") == "content_block_delta" else {}
        piece = PIECES.get(delta.get("type", ""))
        if data.get("type") == "ping" or (piece and delta.get(piece) in (None, "")):
            continue
        if piece and out and extends(out[-1].get("data", {}), data, piece):
            out[-1]["data"]["delta"][piece] += delta[piece]
        else:
            out.append(event)
    return out


def extends(last: dict, data: dict, piece: str) -> bool:
    same = all(last.get(key) == data.get(key) for key in ("type", "index"))
    return same and last["delta"].get("type") == data["delta"]["type"] and isinstance(data["delta"][piece], str)


def responses_stream(events: list[dict]) -> list[dict]:
    """Grouped by item, because items may interleave; deltas joined; what says nothing left out."""
    head: list[dict] = []
    items: dict[int, list[dict]] = {}
    tail: list[dict] = []
    for event in events:
        data = event.get("data")
        if not isinstance(data, dict):
            tail.append(event)
        elif data["type"] == "response.created":
            head.append(event)
        elif "output_index" in data:
            add_to_item(items.setdefault(data["output_index"], []), event)
        elif data["type"] not in SILENT:
            tail.append(event)
    return [*head, *(event for index in sorted(items) for event in items[index]), *tail]


def add_to_item(item: list[dict], event: dict) -> None:
    data = event["data"]
    if not (data["type"].endswith(".delta") and "delta" in data):
        item.append(event)
    elif data["delta"] not in (None, ""):
        last = item[-1]["data"] if item else {}
        place = ("type", "content_index", "summary_index")
        if all(last.get(key, 0) == data.get(key, 0) for key in place) and isinstance(data["delta"], str):
            last["delta"] += data["delta"]
        else:
            item.append(event)


def chat_stream(events: list[dict], *, reasoning: bool) -> list[dict]:
    """Each chunk taken apart into single statements, neighbouring pieces of one text joined."""
    out: list[dict] = []
    for event in events:
        for atom in chat_atoms(event, reasoning=reasoning):
            if not (out and joined(out[-1], atom)):
                out.append(atom)
    if len(out) > 1 and out[-1].get("data") == "[DONE]" and "error" in out[-2]["data"]:
        out.pop()
    return out


def chat_atoms(event: dict, *, reasoning: bool) -> Iterator[dict]:
    data = event.get("data")
    if not isinstance(data, dict):
        yield event
        return
    shell = {"id": data["id"]} if "id" in data else {}
    optional = {"optional": True} if event.get("optional") else {}
    if data.get("error"):
        yield {"data": {**shell, "error": data["error"]}, **optional}
        return
    for choice in data.get("choices") or []:
        index = choice.get("index", 0)
        for delta in delta_atoms(choice.get("delta") or {}, reasoning=reasoning):
            yield {"data": {**shell, "choices": [{"index": index, "delta": delta}]}, **optional}
        if choice.get("finish_reason"):
            finish = {"index": index, "finish_reason": choice["finish_reason"]}
            yield {"data": {**shell, "choices": [finish]}, **optional}
    if data.get("usage"):
        yield {"data": {**shell, "choices": [], "usage": data["usage"]}, **optional}


def delta_atoms(delta: dict, *, reasoning: bool) -> Iterator[dict]:
    private = ("reasoning_text", "reasoning_opaque") if reasoning else ()
    for key in ("role", *private, "content", "refusal"):
        if delta.get(key):
            yield {key: delta[key]}
    for call in delta.get("tool_calls") or []:
        function = call.get("function") or {}
        if call.get("id") or function.get("name"):
            head = {key: call[key] for key in ("index", "id", "type") if key in call}
            yield {"tool_calls": [head | ({"function": {"name": function["name"]}} if function.get("name") else {})]}
        if function.get("arguments"):
            yield {"tool_calls": [{"index": call.get("index"), "function": {"arguments": function["arguments"]}}]}


def joined(last: dict, atom: dict) -> bool:
    """Whether ``atom`` was one more piece of the text in ``last``, and is now part of it."""
    match last["data"], atom["data"]:
        case (
            {"choices": [{"index": left, "delta": {"tool_calls": [{"index": call, "function": text}]} as delta}]},
            {"choices": [{"index": right, "delta": {"tool_calls": [{"index": other, "function": more}]}}]},
        ) if (left, call) == (right, other) and "id" not in delta["tool_calls"][0] and text.keys() == more.keys():
            if text.keys() != {"arguments"} or not isinstance(more["arguments"], str):
                return False
            text["arguments"] += more["arguments"]
            return True
        case {"choices": [{"index": left, "delta": text}]}, {"choices": [{"index": right, "delta": more}]}:
            (key,), (other,) = text, more
            if left != right or key != other or key not in {"content", "refusal", "reasoning_text"}:
                return False
            if not isinstance(more[key], str):
                return False
            text[key] += more[key]
            return True
    return False


REQUESTS = {"chat": chat_request, "messages": messages_request, "responses": responses_request}
STREAMS = {"messages": messages_stream, "responses": responses_stream}
