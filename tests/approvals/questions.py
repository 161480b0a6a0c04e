"""A question to ask in tests."""

from copilot_asgi.approvals import Question
from copilot_asgi.wire.dialect import Dialect


def make_question(
    id: str = "question-1",
    *,
    caller: str = "local",
    account: str | None = "octocat",
    model: str = "gpt-4o",
    preview: str = "hello",
    estimated_credits: float | None = None,
    body: bytes = b"{}",
) -> Question:
    return Question(
        id=id,
        caller=caller,
        account=account,
        model=model,
        dialect=Dialect.CHAT,
        size=len(body),
        preview=preview,
        estimated_credits=estimated_credits,
        asked_at=1_000.0,
        body=body,
    )
