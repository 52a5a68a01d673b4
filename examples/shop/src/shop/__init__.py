"""A shop of several processes: a gateway, orders, a worker, and recommendations in another language."""

__version__ = "2.1.0"
