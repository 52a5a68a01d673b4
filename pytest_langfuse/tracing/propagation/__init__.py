"""One trace over several services, threads and queues."""
