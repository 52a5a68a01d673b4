"""Shared by the tests of this folder."""

import urllib.request

from pytest_langfuse.process.app import App

#: Nothing is sent before the end by itself: what arrives was sent because the process ended.
LATER = {"LANGFUSE_FLUSH_AT": "500", "LANGFUSE_FLUSH_INTERVAL": "600", "LANGFUSE_TIMEOUT": "5"}

#: The variable `SET_UP` says how: "init_tracing", or anything else for the plain SDK.
SET_UP = """
def set_up():
    if os.environ["SET_UP"] == "init_tracing":
        from pytest_langfuse.tracing import init_tracing
        init_tracing()
    else:
        get_client()
"""

#: Answers each request for "/" with ten observations and the number of its process. The variable `SET_UP_AT` may be
#: "lifespan", `FLUSH` has the lifespan's end flush.
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


def names(count: int = 10, prefix: str = "s") -> list[str]:
    """What `observe` has made."""
    return sorted(f"{prefix}{number}" for number in range(count))


def ask(app: App, path: str = "/") -> str:
    """What the service says: the number of the process that answers."""
    with urllib.request.urlopen(app.url + path, timeout=20) as response:
        return response.read().decode()
