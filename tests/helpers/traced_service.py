"""A service that makes observations, for the tests of processes: its source, its settings, and calls to it."""

import urllib.request

from pytest_langfuse.process.app import App

#: Settings with which nothing is sent while the process runs: what arrives was sent because it ended.
SENT_AT_THE_END = {"LANGFUSE_FLUSH_AT": "500", "LANGFUSE_FLUSH_INTERVAL": "600", "LANGFUSE_TIMEOUT": "5"}

#: Source of `set_up`. The variable `SET_UP` is "init_tracing", or anything else for the plain SDK.
SET_UP = """
def set_up():
    if os.environ["SET_UP"] == "init_tracing":
        from pytest_langfuse.tracing import init_tracing
        init_tracing()
    else:
        get_client()
"""

#: Source of a service that makes ten observations for each request of "/" and answers with its process id. With the
#: variable `SET_UP_AT=lifespan` it calls `set_up` in its lifespan; with `FLUSH` it flushes at the end of it.
SERVICE = (
    SET_UP
    + """
IN_LIFESPAN = os.environ.get("SET_UP_AT") == "lifespan"
if not IN_LIFESPAN:
    set_up()

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup" and IN_LIFESPAN:
                set_up()
            if message["type"] == "lifespan.shutdown" and os.environ.get("FLUSH"):
                get_client().flush()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/":
        observe(10, f"{os.getpid()} ")
    if scope["path"] == "/hang":
        time.sleep(60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/":
        observe(10, f"{os.getpid()} ")
    if environ["PATH_INFO"] == "/hang":
        print("hangs", flush=True)
        time.sleep(60)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
)


def span_names(count: int = 10, prefix: str = "s") -> list[str]:
    """Return the sorted names of the observations that `observe(count, prefix)` makes."""
    return sorted(f"{prefix}{number}" for number in range(count))


def ask(app: App, path: str = "/") -> str:
    """Send a request to the service and return the body of its answer: the id of the process that answered."""
    with urllib.request.urlopen(app.url + path, timeout=20) as response:
        return response.read().decode()
