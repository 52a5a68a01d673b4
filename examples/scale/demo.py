"""The shop, unchanged, with its traces going through Kafka, while Langfuse is down for a time. `make demo-scale`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

SHOP = Path(__file__).parents[1] / "shop"
sys.path[:0] = [str(SHOP / "src"), str(SHOP / "tests" / "lib")]

from fake_openai import fake_openai  # noqa: E402
from services import PATIENCE, Broker, Forwarder, Langfuse, Services, free_port, wait_until  # noqa: E402

from shop.sign_in import Customer, SignIn  # noqa: E402

TOPIC = "langfuse_spans"
SECRET = "made-up"  # noqa: S105 - of the demonstration
CUSTOMERS = 20
#: Of one checkout, over three processes: POST /checkout, POST /orders, stock twice, thank, ship, book_courier.
OBSERVATIONS = 7
#: Seconds that Langfuse is down, after the forwarder has noticed it.
OUTAGE = 1.0


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:5.1f} s  {text}", flush=True)  # noqa: T201 - a demonstration


STARTED = time.monotonic()


@contextmanager
def shop(services: Services, gateway: int, orders: int) -> Iterator[None]:
    """Run the three processes of the shop, and stop them as a deployment does."""
    python = [sys.executable, "-m"]
    worker = ["--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    running = [
        services.start("worker", *python, "celery", "--app", "shop.jobs", "worker", *worker),
        services.start(
            "orders", *python, "gunicorn", "shop.orders:create_app()", "--bind", f"127.0.0.1:{orders}",
            "--no-control-socket",
        ),
        services.start("gateway", *python, "uvicorn", "--factory", "shop.gateway:create_app", "--port", str(gateway)),
    ]  # fmt: skip
    wait_until(lambda: answers(gateway) and answers(orders), "the shop starts")
    wait_until(lambda: "ready" in services.log("worker"), "the worker starts")
    yield
    services.stop(*running)


def answers(port: int) -> bool:
    """Return whether a service of the shop is up."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def check_out(gateway: int, number: int) -> float:
    """Order something as a customer; return how many seconds it took."""
    token = SignIn(SECRET).token(Customer(f"u-{number}", f"s-{number}"))
    started = time.monotonic()
    response = httpx.post(
        f"http://127.0.0.1:{gateway}/checkout",
        json={"skus": ["mug", "tea"]},
        headers={"authorization": f"Bearer {token}"},
        timeout=PATIENCE,
        trust_env=False,
    )
    response.raise_for_status()
    return time.monotonic() - started


def customers(gateway: int) -> float:
    """Let some customers order; return the longest that one of them waited."""
    with ThreadPoolExecutor(4) as pool:
        return max(pool.map(lambda number: check_out(gateway, number), range(CUSTOMERS)))


def demonstrate(services: Services, broker: Broker, langfuse: Langfuse, gateway: int, orders: int) -> int:
    """Tell the story; return the exit status."""
    broker.start(TOPIC, partitions=4)
    langfuse.start()
    forwarder = Forwarder(services, broker, TOPIC, langfuse)
    say("Kafka, a forwarder and a Langfuse are up. The shop starts with LANGFUSE_EXPORT=kafka.")
    with shop(services, gateway, orders):
        wait_until(lambda: forwarder.state() == "ok", "the forwarder gets its partitions")
        say("The shop is open: a gateway, orders, a worker. The forwarder has its partitions.")

        slowest = customers(gateway)
        made = CUSTOMERS * OBSERVATIONS
        say(f"{CUSTOMERS} customers ordered, the slowest within {slowest:.2f} s: {made} spans go to Kafka.")
        wait_until(lambda: forwarder.metric("spans_total") >= made, "the spans arrive")
        say(f"The forwarder has taken them to Langfuse, which has {langfuse.observations()}.")

        langfuse.stop()
        say("Langfuse goes down.")
        slowest = customers(gateway)
        made += CUSTOMERS * OBSERVATIONS
        say(f"{CUSTOMERS} customers ordered, the slowest within {slowest:.2f} s: the shop does not notice.")
        wait_until(lambda: forwarder.state() != "ok", "the forwarder notices")
        time.sleep(OUTAGE)
        say(f"The forwarder pauses: {forwarder.state()}. {forwarder.metric('lag_messages')} messages wait in Kafka.")

        langfuse.start()
        say("Langfuse is back. The forwarder tries it within 10 seconds.")
        wait_until(lambda: forwarder.metric("spans_total") >= made, "the spans arrive")
        say(f"The forwarder has resumed. Langfuse has {langfuse.observations()}.")
    arrived = langfuse.observations()
    say(f"The shop is closed. {made} spans made, {arrived} arrived: {max(made - arrived, 0)} lost.")
    return 0 if arrived >= made else 1


def main() -> int:
    """Run it; exit status 1 if a span is lost, or something does not work."""
    with tempfile.TemporaryDirectory() as name, fake_openai() as openai:
        folder, gateway, orders = Path(name), free_port(), free_port()
        services = Services(
            folder,
            PYTHONPATH=str(SHOP / "src"),
            SHOP_SECRET=SECRET,
            # Celery's. Not a folder: its transport takes files that are not written to their end, which is rare but in
            # a demonstration.
            SHOP_BROKER_URL=f"sqla+sqlite:///{folder / 'jobs.sqlite'}",
            OPENAI_API_KEY="sk-made-up",
            OPENAI_BASE_URL=openai.url,
            ORDERS_URL=f"http://127.0.0.1:{orders}",
            NO_PROXY="127.0.0.1",
            LANGFUSE_PUBLIC_KEY="pk-lf-made-up",
            LANGFUSE_SECRET_KEY="sk-lf-made-up",  # noqa: S106 - as above
            LANGFUSE_PROPAGATE_TO="127.0.0.1,jobs.shop",
        )
        langfuse, broker = Langfuse(services), Broker(services)
        services.env |= {
            "LANGFUSE_BASE_URL": langfuse.url,
            "LANGFUSE_EXPORT": "kafka",
            "LANGFUSE_KAFKA_BROKERS": broker.address,
        }
        with services:
            try:
                return demonstrate(services, broker, langfuse, gateway, orders)
            except (TimeoutError, RuntimeError, httpx.HTTPError) as error:
                say(f"FAILED: {error}\n{services.logs()}")
                return 1


if __name__ == "__main__":
    sys.exit(main())
