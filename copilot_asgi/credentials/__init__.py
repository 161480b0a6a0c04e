"""From a GitHub login to the credential of a model call: sign-in, accounts, identity, tokens."""
