"""Stand-ins of the queues that production tracing exports to: a Kafka broker and SQS, both on loopback."""
