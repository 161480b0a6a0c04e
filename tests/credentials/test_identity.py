"""What we say we are."""

import pytest

from copilot_asgi.config import IdentityKind, Settings
from copilot_asgi.credentials.identity import Identity, chosen_identity, editor, own_app

OWN = own_app(client_id="Iv23own", user_agent="octo-app/2.0", integration_id="octo")


@pytest.mark.parametrize("identity", [editor(), OWN])
def test_an_identity_is_constant_lower_case_and_without_machine_ids(identity: Identity) -> None:
    """No secret, no device, machine or session id; names are lower case and unique."""
    for headers in (identity.auth_headers, identity.model_headers):
        names = [name for name, _ in headers]
        assert names == [name.lower() for name in names]
        assert len(set(names)) == len(names)
        assert not {n for n in names if b"machine" in n or b"device" in n or b"session" in n or n == b"authorization"}


def test_the_editor_sends_what_exchanged_tokens_need() -> None:
    """Copilot answers 400 without an editor version; sign-in calls still say honestly who asks."""
    model, auth = dict(editor().model_headers), dict(editor().auth_headers)
    assert {b"editor-version", b"editor-plugin-version", b"copilot-integration-id", b"user-agent"} <= set(model)
    assert auth[b"user-agent"].startswith(b"copilot-asgi/")
    assert not {name for name in auth if name.startswith(b"editor")}


def test_an_own_app_sends_no_editor_header() -> None:
    """Your own app is named everywhere and never looks like an editor."""
    for headers in (OWN.auth_headers, OWN.model_headers):
        assert dict(headers)[b"user-agent"] == b"octo-app/2.0"
        assert not {name for name, _ in headers if b"editor" in name}
    assert dict(OWN.model_headers)[b"copilot-integration-id"] == b"octo"
    bare = own_app(client_id="x", user_agent="octo-app/2.0")
    assert b"copilot-integration-id" not in dict(bare.model_headers)


def test_the_settings_choose() -> None:
    """The setting ``identity`` picks one of the two."""
    assert chosen_identity(Settings()) == editor()
    own = Settings(identity=IdentityKind.OWN_APP, client_id="Iv23own", user_agent="octo-app/2.0", integration_id="octo")
    assert chosen_identity(own) == OWN
