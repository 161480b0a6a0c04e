"""What a Gemini part holds as base64, and the thinking that travels in a part's signature.

Rule: Google's libraries write base64 in the alphabet for URLs and read either; everybody else wants the standard one.
A signature must be base64 for them, so an envelope goes through them in base64.

Source: https://ai.google.dev/api/caching#Part.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.camel import read_camel
from copilot_asgi.translate.conversation import Audio, Document, Image, Part, Seal, Text, Thinking
from copilot_asgi.translate.seals import unwrap, wrap

__all__ = ["read_blob", "read_file", "signature_of", "signed_thinking"]

_STANDARD = str.maketrans({"-": "+", "_": "/", "=": None, "\n": None, "\r": None})
_AUDIO_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "audio/mp3": "mp3",
        "audio/mpeg": "mp3",
        "audio/wav": "wav",
        "audio/wave": "wav",
        "audio/x-wav": "wav",
    }
)
_PDF = "application/pdf"


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str | None = None
    data: str | None = None
    display_name: str | None = None


class _File(msgspec.Struct, rename="camel"):
    mime_type: str | None = None
    file_uri: str | None = None


_blob_decoder = msgspec.json.Decoder(_Blob)
_file_decoder = msgspec.json.Decoder(_File)


def read_blob(raw: msgspec.Raw) -> Part:
    """An inline image, recording, PDF or text. Raises ``BadRequest`` for anything else, or one of ``NOT_JSON``."""
    blob = read_camel(_blob_decoder, raw)
    media_type = (blob.mime_type or "").partition(";")[0].strip().lower()
    read = _KINDS.get(media_type) or _KINDS.get(media_type.partition("/")[0])
    if read is None:
        raise BadRequest(f"Data of the type '{media_type}' cannot be served.", code="unsupported_value")
    return read(media_type, _standard(blob.data or ""), blob.display_name or "")


def read_file(raw: msgspec.Raw) -> Part:
    """An image on the web; nobody else fetches Google's files. Raises ``BadRequest``, or one of ``NOT_JSON``."""
    given = read_camel(_file_decoder, raw)
    uri = given.file_uri or ""
    is_image = (given.mime_type or "").lower().startswith("image/")
    if not is_image or not uri.startswith(("http://", "https://")):
        raise BadRequest(
            "Only images on the web can be named; send other files as inlineData.", code="unsupported_value"
        )
    return Image(url=uri)


def signed_thinking(signature: str) -> Thinking | None:
    """The thinking in a signature of ours, or ``None`` when it is Google's, which nobody here can read.

    Raises ``BadRequest`` for an envelope that was damaged on its way.
    """
    try:
        opened = unwrap(b64decode(_standard(signature)).decode())
    except (Base64Error, ValueError):
        return None
    return None if opened is None else Thinking(opened[1], opened[0])


def signature_of(seal: Seal, *, text: str) -> str:
    """A seal and the thinking it belongs to, as Google's libraries take it."""
    return b64encode(wrap(seal, text=text).encode()).decode()


def _standard(data: str) -> str:
    """Base64 in the standard alphabet, filled up."""
    plain = data.translate(_STANDARD)
    return plain + "=" * (-len(plain) % 4)


def _image(media_type: str, data: str, name: str) -> Part:  # noqa: ARG001 - one shape for all
    return Image(media_type=media_type, data=data)


def _audio(media_type: str, data: str, name: str) -> Part:  # noqa: ARG001 - one shape for all
    format = _AUDIO_FORMATS.get(media_type)
    if format is None:
        raise BadRequest("Recordings must be WAV or MP3.", code="unsupported_value")
    return Audio(data, format)


def _pdf(media_type: str, data: str, name: str) -> Part:
    return Document(media_type=media_type, data=data, name=name)


def _text(media_type: str, data: str, name: str) -> Part:  # noqa: ARG001 - one shape for all
    try:
        text = b64decode(data, validate=True).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        raise BadRequest("The data of a file is not base64.", code="invalid_value") from None
    return Text("\n".join(filter(None, (name, text))))


_KINDS: Mapping[str, Callable[[str, str, str], Part]] = MappingProxyType(
    {"image": _image, "audio": _audio, "text": _text, _PDF: _pdf}
)
