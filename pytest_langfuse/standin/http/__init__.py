"""HTTP/1.1 on sockets of this machine."""
