"""Queues between an application and Langfuse: sinks that put export bodies into Kafka or SQS."""
