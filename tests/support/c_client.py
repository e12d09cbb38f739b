"""A client in C, to which the name of a header is bytes: Python's own client sends text alone."""

import ctypes
from pathlib import Path

import confluent_kafka

from support.missing import missing

LIBRARIES = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
# What the arguments of rd_kafka_producev are, as librdkafka's header file has it.
END, TOPIC, VALUE, KEY, FLAGS, HEADER = 0, 1, 4, 5, 7, 9
COPY = 2  # librdkafka keeps bytes of its own
ERROR_SIZE = 512  # characters
FLUSH_TIMEOUT = 60_000  # milliseconds


def send(
    broker: str, topic: str, key: bytes, value: bytes, headers: dict[bytes, bytes], times: int
) -> None:
    """Send a record so many times, until the broker has it; skip where librdkafka is not found."""
    found = sorted(LIBRARIES.glob("librdkafka*.so*"))
    if not found:
        missing("confluent_kafka's librdkafka is not where its wheel for Linux has it")
    library = ctypes.CDLL(str(found[0]))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(ERROR_SIZE)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    option = (b"bootstrap.servers", broker.encode())
    assert library.rd_kafka_conf_set(configuration, *option, error, ERROR_SIZE) == 0, error.value
    producer = ctypes.c_void_p(library.rd_kafka_new(0, configuration, error, ERROR_SIZE))
    assert producer, error.value
    arguments: list[object] = [TOPIC, topic.encode(), FLAGS, COPY]
    arguments += [KEY, key, ctypes.c_size_t(len(key)), VALUE, value, ctypes.c_size_t(len(value))]
    for name, content in headers.items():
        arguments += [HEADER, name, content, ctypes.c_ssize_t(len(content))]
    try:
        for _ in range(times):
            assert library.rd_kafka_producev(producer, *arguments, END) == 0
        assert library.rd_kafka_flush(producer, FLUSH_TIMEOUT) == 0
    finally:
        library.rd_kafka_destroy(producer)
