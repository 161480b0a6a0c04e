"""Records in the store."""

import msgspec
import pytest

from copilot_asgi.credentials.records import decode_record, encode_record
from copilot_asgi.secret import Secret


class Note(msgspec.Struct, frozen=True):
    name: str
    token: Secret


class Odd(msgspec.Struct, frozen=True):
    value: object


class Complex(msgspec.Struct, frozen=True):
    value: complex


def test_secrets_survive_the_round_trip() -> None:
    """A secret is text in the store and hidden again when it is read."""
    data = encode_record(Note("a", Secret("s3cret")))
    note = decode_record(Note, data)
    assert b"s3cret" in data
    assert note == Note("a", Secret("s3cret"))
    assert "s3cret" not in repr(note)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b'{"name":1,"token":"x"}', b'{"name":"a","token":5}'])
def test_what_is_no_record_is_none(data: bytes) -> None:
    """Damaged and foreign records read as missing."""
    assert decode_record(Note, data) is None


def test_other_types_are_refused() -> None:
    """The hooks know secrets and nothing else."""
    with pytest.raises(NotImplementedError):
        encode_record(Odd(object()))
    assert decode_record(Complex, b'{"value": 1}') is None
