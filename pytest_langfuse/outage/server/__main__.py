"""The command `python -m pytest_langfuse.outage.server`."""

from pytest_langfuse.outage.server.command import main

raise SystemExit(main())
