"""``python -m copilot_asgi`` is the ``copilot-asgi`` command."""

from copilot_asgi.cli.entry import main

if __name__ == "__main__":
    main()
