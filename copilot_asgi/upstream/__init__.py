"""GitHub Copilot as the rest of the project sees it."""
