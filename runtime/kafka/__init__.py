"""Kafka: the transport, the producer, topics and offsets, and the brokers of our own."""
