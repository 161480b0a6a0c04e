"""Responses answers, read and written."""

from copilot_asgi.translate.responses_decoder import ResponsesDecoder, decode_answer
from copilot_asgi.translate.responses_encoder import ResponsesEncoder, render_reply

__all__ = ["ResponsesDecoder", "ResponsesEncoder", "decode_answer", "render_reply"]
