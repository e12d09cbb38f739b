"""What a consumer gets, as a record, whatever is in it."""

import pytest

from saga.runtime.envelope import decode
from saga.runtime.errors import Undecodable
from saga.runtime.kafka.record import to_record


class Message:
    """A message as confluent_kafka has it; one whose headers can be asked for once, in vain."""

    def __init__(self, headers):
        self._headers, self.asked = headers, 0

    def topic(self):
        return "order.create"

    def key(self):
        return b"s1"

    def value(self):
        return b"{}"

    def partition(self):
        return 2

    def offset(self):
        return 7

    def headers(self):
        self.asked += 1
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


def test_record_is_as_the_message_is():
    record = to_record(Message([("ce_id", b"s1/a/do")]))
    assert record == ("order.create", b"s1", b"{}", [("ce_id", b"s1/a/do")], 2, 7, "")
    assert to_record(Message(None)).headers == []


def test_topic_is_told_without_the_prefix_of_its_system():
    assert to_record(Message(None), "order.").topic == "create"


def test_headers_that_can_not_be_read_are_asked_for_once_and_told():
    message = Message(SystemError("returned NULL without setting an exception"))
    record = to_record(message)
    assert (record.key, record.value, record.headers, record.offset) == (b"s1", b"{}", [], 7)
    with pytest.raises(Undecodable, match=r"^the name of a header is not UTF-8$"):
        decode(record)
    assert message.asked == 1
