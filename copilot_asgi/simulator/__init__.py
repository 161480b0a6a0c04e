"""A stand-in for GitHub and the Copilot API."""
