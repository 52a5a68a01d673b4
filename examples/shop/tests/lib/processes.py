"""The processes of the shop, as they run in production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from shop.sign_in import Customer, SignIn

FOLDER = Path(__file__).parents[2]
RECOMMENDATIONS = FOLDER / "recommendations"
SECRET = "made-up"
#: Seconds for a process to start or to exit on a busy machine.
PATIENCE = 60.0


class Shop:
    """The shop. A test starts the processes that it needs."""

    def __init__(self, langfuse_process: Any, openai_url: str, queue: Path) -> None:
        self._start = langfuse_process.start
        self._start_command = langfuse_process.start_command
        self._env = {
            "PYTHONPATH": str(FOLDER / "src"),
            "SHOP_SECRET": SECRET,
            "SHOP_QUEUE_FOLDER": str(queue),
            "OPENAI_API_KEY": "sk-made-up",
            "OPENAI_BASE_URL": openai_url,
            "LANGFUSE_TRACING_ENVIRONMENT": "production",
            "LANGFUSE_SAMPLE_RATE": "1.0",
            # So long that nothing is sent before the shutdown: what arrives was sent by a graceful shutdown.
            "LANGFUSE_FLUSH_INTERVAL": "300",
            "LANGFUSE_FLUSH_AT": "500",
            "LANGFUSE_PROPAGATE_TO": "127.0.0.1,jobs.shop",
            "NO_PROXY": "127.0.0.1",
        }

    def gateway(self, app: str = "shop.gateway:create_app", **urls: str) -> Any:
        """Start the gateway on a free port."""
        factory = ["--factory"] if app.endswith(":create_app") else []
        return self._start("-m", "uvicorn", *factory, app, "--port", "{port}", env={**self._env, **urls})

    def orders(self, app: str = "shop.orders:create_app()") -> Any:
        """Start the order service on a free port."""
        options = ["--bind", "127.0.0.1:{port}", "--no-control-socket"]
        return self._start("-m", "gunicorn", app, *options, env=self._env)

    def worker(self) -> Any:
        """Start the worker."""
        options = ["--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
        return self._start("-m", "celery", "--app", "shop.jobs", "worker", *options, env=self._env)

    def recommendations(self) -> Any:
        """Start the Node service on a free port."""
        env = {**self._env, "PORT": "{port}"}
        return self._start_command("node", "server.js", cwd=RECOMMENDATIONS, env=env)

    @staticmethod
    def wait_ready(*apps: Any) -> None:
        """Wait until all of them answer."""
        for app in apps:
            app.wait_ready("/health", timeout=PATIENCE)

    @staticmethod
    def stop(*apps: Any) -> None:
        """Terminate processes, as a deployment does, and wait for them to exit."""
        for app in apps:
            app.terminate()
        for app in apps:
            app.wait(PATIENCE)

    @staticmethod
    def customer(gateway: Any, user: str, session: str) -> httpx.Client:
        """Return the browser of a customer who has signed in."""
        token = SignIn(SECRET).token(Customer(user, session))
        return httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {token}"}, trust_env=False)
