"""Data URLs taken apart, and images called what they are."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.media import data_url, image_type, split_data_url

PNG = b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").decode()
JPEG = b64encode(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1").decode()
GIF = b64encode(b"GIF89a\1\0\1\0\0\0").decode()
WEBP = b64encode(b"RIFF\n\0\0\0WEBPVP8 ").decode()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,AAAA", ("image/png", "AAAA")),
        ("DATA:Image/PNG;Base64,AAAA", ("image/png", "AAAA")),
        ("data:image/png;charset=utf-8;base64,AA,AA", ("image/png", "AA,AA")),
        ("data:text/plain,a%20b", ("text/plain", b64encode(b"a b").decode())),
        ("data:,x", ("text/plain", b64encode(b"x").decode())),
        ("data:;base64,eA==", ("text/plain", "eA==")),
        ("https://example.com/a.png", None),
        ("", None),
    ],
)
def test_a_data_url_is_taken_apart(url: str, expected: tuple[str, str] | None) -> None:
    """Type up to the first semicolon, data behind the first comma; text becomes base64."""
    assert split_data_url(url) == expected


def test_a_data_url_without_data_is_refused() -> None:
    """Without a comma nobody can tell what is data."""
    with pytest.raises(BadRequest, match="holds no data"):
        split_data_url("data:image/png;base64")


@given(st.sampled_from(["image/png", "application/pdf"]), st.binary(max_size=40))
def test_a_data_url_comes_back(media_type: str, content: bytes) -> None:
    """What was put together comes apart again."""
    data = b64encode(content).decode()
    assert split_data_url(data_url(media_type, data)) == (media_type, data)


@pytest.mark.parametrize(
    ("named", "data", "expected"),
    [
        ("image/png", PNG, "image/png"),
        ("image/jpg", JPEG, "image/jpeg"),
        ("image/png", JPEG, "image/jpeg"),
        ("application/octet-stream", GIF, "image/gif"),
        ("image/jpeg", WEBP, "image/webp"),
        ("image/jpg", "AAAA", "image/jpeg"),
        ("IMAGE/PNG", "no base64!", "image/png"),
        ("image/webp", "äöü", "image/webp"),
    ],
)
def test_the_bytes_of_an_image_decide(named: str, data: str, expected: str) -> None:
    """A wrong name is put right; where the bytes say nothing the name counts."""
    assert image_type(named, data) == expected


@pytest.mark.parametrize("named", ["image/bmp", "image/svg+xml", "", "text/plain"])
def test_other_images_are_refused(named: str) -> None:
    """Upstream takes four types of images."""
    with pytest.raises(BadRequest, match="JPEG, PNG, GIF and WebP"):
        image_type(named, "AAAA")
