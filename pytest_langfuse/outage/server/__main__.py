"""The command `python -m pytest_langfuse.outage.server`."""

from pytest_langfuse.outage.server.command import main

if __name__ == "__main__":
    raise SystemExit(main())
