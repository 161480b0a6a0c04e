"""Data URLs and the types of images.

Rule: the bytes decide. Clients often name an image's type wrongly, and upstream refuses such an image.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from urllib.parse import unquote_to_bytes

from copilot_asgi.errors import BadRequest

__all__ = ["data_url", "image_type", "split_data_url"]

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
_SIGNATURES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
# Base64 text that is enough to see every signature: 16 characters hold 12 bytes.
_SNIFFED = 16


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 data of a ``data:`` URL, or ``None`` for any other URL (RFC 2397).

    Data that is not base64 is percent-encoded; it is encoded anew. Raises ``BadRequest`` for one without a comma.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise BadRequest("A data URL in the request holds no data.", code="invalid_value")
    media_type, *parameters = (piece.strip().lower() for piece in head.split(";"))
    if "base64" not in parameters:
        data = b64encode(unquote_to_bytes(data)).decode()
    return media_type or "text/plain", data


def data_url(media_type: str, data: str) -> str:
    """The ``data:`` URL of base64 ``data``."""
    return f"data:{media_type};base64,{data}"


def image_type(media_type: str, data: str) -> str:
    """The media type that base64 ``data`` really has, or else is said to have.

    Raises ``BadRequest`` for what is not a JPEG, PNG, GIF or WebP image.
    """
    named = media_type.lower()
    found = _sniffed(data) or _ALIASES.get(named, named)
    if found not in _IMAGE_TYPES:
        raise BadRequest("This model takes images of type JPEG, PNG, GIF and WebP only.", code="invalid_image_format")
    return found


def _sniffed(data: str) -> str | None:
    try:
        start = b64decode(data[:_SNIFFED].encode(), validate=True)
    except (Base64Error, UnicodeEncodeError):
        return None
    return next((media_type for signature, media_type in _SIGNATURES if signature.match(start)), None)
