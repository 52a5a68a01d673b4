"""HTTP clients whose requests are answered in this process, or sent to a server of this machine."""
