"""What the producer makes of what librdkafka tells: each record's fate is told once."""

import threading
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from saga.runtime.envelope import Envelope, Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import producer as module
from saga.runtime.kafka.application import DELIVERY_TIMEOUT
from saga.runtime.kafka.producer import LINGER, POSTED, SEVERAL, Failure, Producer
from saga.runtime.settings import Settings
from saga.runtime.transport import Refusal

ALONE = {"batch.num.messages": 1}
GONE = KafkaError(KafkaError._MSG_TIMED_OUT, "it took too long")
MISSING = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic")
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "it is too large")


def record(number, topic="gift.wrap"):
    return Record(topic, b"k%d" % number, b"%d" % number, [("ce_id", b"%d" % number)])


def failed(error, *, lasting=False, missing=False):
    return Failure(error.str(), lasting, missing)


class Client:
    """One of librdkafka's: it tells what its `fates` are, by value, when it is polled."""

    def __init__(self):
        self.fates, self.raises, self.silent = {}, {}, False
        self.produced, self.on_their_way, self.log = [], [], []

    def produce(self, topic, value, key, *, partition, headers, on_delivery):
        assert partition == -1  # the one of its key
        if errors := self.raises.get(value):
            raise errors.pop(0)
        assert isinstance(headers, list)
        self.produced.append((topic, key, value, headers))
        self.on_their_way.append((value, on_delivery))

    def poll(self, timeout):
        self.log.append(("poll", timeout))
        self.tell()

    def flush(self, timeout):
        self.log.append(("flush", timeout))
        self.tell()

    def tell(self):
        while self.on_their_way and not self.silent:
            value, on_delivery = self.on_their_way.pop(0)
            on_delivery(self.fates.pop(value, None), "the message")

    def __len__(self):
        return len(self.on_their_way)

    @property
    def values(self):
        return [int(value) for _, _, value, _ in self.produced]


class Clients(Client):
    """The usual one, the one for several records, and the one that sends each by itself."""

    def __init__(self):
        super().__init__()
        self.together, self.alone, self.asked = Client(), Client(), []

    def producer_client(self, settings, **options):
        self.asked.append((settings.kafka_prefix, options))
        if options == ALONE:
            return self.alone
        return self.together if options else self


@pytest.fixture
def clients(monkeypatch):
    """Clients of which the usual one is for any number of records."""
    clients = Clients()
    monkeypatch.setattr(module, "producer_client", clients.producer_client)
    monkeypatch.setattr(module, "SEVERAL", POSTED)
    monkeypatch.setattr(module, "monotonic", lambda: 0.0)
    return clients


@pytest.fixture
def batched(clients, monkeypatch):
    """The same, with the one for several records."""
    monkeypatch.setattr(module, "SEVERAL", SEVERAL)
    return clients


@pytest.fixture
def producer(clients):
    return Producer(Settings(kafka_prefix="test."))


@pytest.fixture
def told():
    return []


@pytest.fixture
def note(told):
    """Remember what becomes of records: that one is taken, or which one is not, and why."""
    return lambda: told.append("taken"), lambda record, why: told.append((int(record.value), why))


def test_client_is_made_once(clients):
    Producer(Settings(kafka_prefix="test.")).send_records([record(1), record(2)])
    assert clients.asked == [("test.", {})]


def test_record_is_handed_over_as_it_is(clients, producer, note):
    assert producer.hand_over([record(1), record(2)], *note) == 2
    assert clients.produced == [
        ("test.gift.wrap", b"k%d" % n, b"%d" % n, [("ce_id", b"%d" % n)]) for n in (1, 2)
    ]


def test_several_records_wait_for_each_other(batched, producer, note):
    several = [record(n) for n in range(SEVERAL)]
    assert producer.hand_over(several, *note) == SEVERAL
    assert producer.hand_over(several, *note) == SEVERAL
    assert (batched.together.values, batched.values) == ([*range(SEVERAL)] * 2, [])
    assert batched.asked == [("test.", {}), ("test.", {"linger.ms": LINGER})]


def test_few_records_wait_for_nobody(batched, producer, note):
    producer.hand_over([record(n) for n in range(SEVERAL - 1)], *note)
    assert batched.values == [*range(SEVERAL - 1)]
    assert batched.asked == [("test.", {})]


def test_threads_that_send_several_at_once_share_one_client(batched, producer, note, monkeypatch):
    several = [record(n) for n in range(SEVERAL)]
    other = threading.Thread(target=producer.hand_over, args=(several, *note))

    def make(*asked, **options):
        if not other.ident:
            other.start()
            other.join(0.1)  # seconds in which it would make one if it waited for nobody
        return batched.producer_client(*asked, **options)

    monkeypatch.setattr(module, "producer_client", make)
    producer.hand_over(several, *note)
    other.join()
    assert batched.asked == [("test.", {}), ("test.", {"linger.ms": LINGER})]
    assert len(batched.together) == 2 * SEVERAL


@pytest.mark.parametrize("lone", [0, SEVERAL + 1])
def test_news_is_waited_for_where_most_is_on_its_way(batched, producer, note, told, lone):
    producer.hand_over([record(n) for n in range(SEVERAL)], *note)
    for n in range(lone):
        producer.hand_over([record(n)], *note)
    producer.poll(0.5)
    assert told == ["taken"] * (SEVERAL + lone)
    logs = [batched.log, batched.together.log]
    assert logs == [[("poll", 0.5 if lone else 0)], [("poll", 0 if lone else 0.5)]]


def test_flush_has_its_time_once_for_all_clients(batched, producer, note, told, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(module, "monotonic", lambda: float(next(ticks)))
    producer.hand_over([record(n) for n in range(SEVERAL)], *note)
    producer.hand_over([record(9)], *note)
    producer.flush(1.5)
    assert told == ["taken"] * (SEVERAL + 1)
    assert batched.together.log == [("flush", 0.5)] * 2
    assert batched.log == [("flush", 0.0)] * 2


def test_full_client_is_waited_for(clients, producer, note, told):
    clients.raises[b"2"] = [BufferError("full")]
    producer.hand_over([record(1), record(2)], *note)
    assert (clients.values, told) == ([1, 2], ["taken"])
    assert clients.log == [("poll", DELIVERY_TIMEOUT)]


def test_each_record_is_told_of_once_and_later(producer, note, told):
    producer.hand_over([record(1), record(2)], *note)
    assert told == []
    producer.poll(0)
    producer.poll(0)
    assert told == ["taken", "taken"]


@pytest.mark.parametrize(
    ("error", "fate"),
    [(GONE, failed(GONE)), (MISSING, failed(MISSING, lasting=True, missing=True))],
)
def test_record_that_was_not_taken_is_not_sent_again(clients, producer, note, told, error, fate):
    clients.fates[b"1"] = error
    producer.hand_over([record(1), record(2)], *note)
    producer.flush()
    assert told == ["taken", (1, fate)]  # of one that is taken at once
    assert (clients.values, clients.alone.produced) == ([1, 2], [])


def test_refused_record_is_sent_once_more_alone(clients, producer, note, told):
    """The broker may have refused its batch for a neighbour's sake."""
    clients.fates |= {b"1": TOO_LARGE, b"2": TOO_LARGE}
    clients.alone.fates[b"2"] = TOO_LARGE
    producer.hand_over([record(1), record(2), record(3)], *note)
    producer.poll(0.5)
    assert told == ["taken"]
    producer.poll(0.5)
    assert told == ["taken", "taken", (2, failed(TOO_LARGE, lasting=True))]
    assert clients.alone.produced == clients.produced[:2]
    assert clients.asked[1:] == [("test.", ALONE)]
    assert (clients.log, clients.alone.log) == ([("poll", 0.5), ("poll", 0)], [("poll", 0.5)])


def test_who_hears_of_sent_records_hears_of_those_that_are_taken(clients, note):
    """Once each: at once, or alone; not of those that never are."""
    clients.fates |= {b"1": TOO_LARGE, b"2": TOO_LARGE, b"4": GONE}
    clients.alone.fates[b"2"] = TOO_LARGE
    sent = []
    producer = Producer(Settings(kafka_prefix="test."), sent.append)
    producer.hand_over([record(n) for n in (1, 2, 3, 4)], *note)
    producer.flush()
    assert sent == [record(3), record(1)]


def test_refused_record_that_can_not_be_sent_alone_is_told_of_with_the_others(
    clients, producer, note, told
):
    clients.fates[b"1"] = TOO_LARGE
    clients.alone.raises[b"1"] = [BufferError("full")] * 2
    producer.hand_over([record(1), record(2)], *note)
    producer.poll(0)
    assert told == ["taken", (1, Failure("the broker takes no messages: full", False, False))]


def test_record_that_the_client_refuses_at_once_is_told_of_later(clients, producer, note, told):
    clients.raises[b"1"] = [KafkaException(TOO_LARGE)]
    clients.alone.raises[b"1"] = [KafkaException(TOO_LARGE)]
    assert producer.hand_over([record(1), record(2)], *note) == 2
    assert told == []
    producer.flush()
    assert told == ["taken", (1, failed(TOO_LARGE, lasting=True))]


@pytest.mark.parametrize(
    ("error", "text"), [(BufferError("full"), "full"), (KafkaException(GONE), "it took too long")]
)
def test_client_that_takes_no_records_is_a_broker_that_is_away(
    clients, producer, note, error, text
):
    clients.raises[b"1"] = [error, error]
    with pytest.raises(BrokerUnavailable, match=f"^the broker takes no messages: {text}$") as it:
        producer.hand_over([record(1)], *note)
    assert it.value.__cause__ is error


def test_what_is_sent_has_arrived(clients, producer):
    producer.send([Envelope("gift.wrap", "s/wrap/do", "Wrap", "/x", "now", "{}")])
    assert [(topic, value) for topic, _, value, _ in clients.produced] == [
        ("test.gift.wrap", b"{}")
    ]
    assert len(clients) == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GONE, "2 messages not taken: it took too long"),
        (MISSING, "2 messages not taken: no such topic"),
    ],
)
def test_sending_tells_what_has_not_arrived(clients, producer, error, text):
    clients.fates |= {b"1": error, b"3": error}
    with pytest.raises(BrokerUnavailable, match=f"^{text}$"):
        producer.send_records([record(1), record(2), record(3)])


def test_what_the_broker_never_takes_is_returned(clients, producer):
    clients.fates |= {b"1": TOO_LARGE, b"2": MISSING}
    clients.alone.fates[b"1"] = TOO_LARGE
    refused = producer.offer([record(1), record(2), record(3)])
    assert refused == [
        Refusal(record(2), "no such topic", missing=True),
        Refusal(record(1), "it is too large", missing=False),
    ]


def test_offer_of_which_one_is_lost_is_of_no_use(clients, producer):
    clients.fates |= {b"1": MISSING, b"2": GONE}
    with pytest.raises(BrokerUnavailable, match=r"^1 messages not taken: it took too long$"):
        producer.offer([record(1), record(2), record(3)])


def test_broker_that_says_nothing_has_taken_nothing(clients, producer):
    clients.silent = True
    with pytest.raises(BrokerUnavailable, match=r"^2 messages not taken: no answer$"):
        producer.offer([record(1), record(2)])
    assert clients.log == [("flush", DELIVERY_TIMEOUT + 1)] * 2


def test_letter_of_what_is_refused_is_flushed_with_it(clients, producer, note, told):
    clients.fates |= {b"1": TOO_LARGE, b"9": TOO_LARGE}
    clients.alone.fates[b"1"] = TOO_LARGE

    def write_letter(of, failure):
        told.append((int(of.value), failure.reason))
        producer.hand_over([record(9, "gift.wrap.dlq")], *note)

    producer.hand_over([record(1)], note[0], write_letter)
    producer.flush(3.0)
    assert told == [(1, "it is too large"), "taken"]
    assert clients.log == clients.alone.log == [("flush", 3.0)] * 2


def test_who_is_told_of_a_failure_may_poll(clients, producer, told):
    """What else there is to tell comes after it."""
    clients.fates |= {b"1": GONE, b"2": GONE, b"3": GONE}

    def poll_first(record, failure):
        producer.poll(0)
        told.append(int(record.value))

    producer.hand_over([record(1), record(2), record(3)], lambda: None, poll_first)
    producer.poll(0)
    assert told == [1, 2, 3]


def test_who_is_told_may_fail(producer, note, told):
    def fail():
        raise KeyError

    producer.hand_over([record(1)], fail, note[1])
    producer.hand_over([record(2)], *note)
    with pytest.raises(KeyError):
        producer.poll(0)
    producer.poll(0)
    assert told == ["taken"]


def test_thread_that_polls_meanwhile_returns_when_all_failures_are_told(clients, producer):
    clients.fates[b"1"] = GONE
    other = threading.Thread(target=producer.poll, args=(0,))

    def let_other_poll(record, failure):
        other.start()
        other.join(0.1)  # seconds in which it would return if it waited for nobody
        assert other.is_alive()

    producer.hand_over([record(1)], lambda: None, let_other_poll)
    producer.poll(0)
    other.join()


def test_post_waits_for_nothing(clients, producer, caplog):
    clients.silent = True
    envelope = Envelope("gift.wrap", "s/wrap/do", "Wrap", "/x", "now", "{}")
    producer.post([envelope, envelope])
    clients.raises[b"{}"] = [BufferError("full")]
    with pytest.raises(BrokerUnavailable, match="full"):
        producer.post([envelope])
    assert clients.log == [("poll", 0)] * 2
    clients.silent = False
    producer.poll(0)
    assert caplog.messages == []


def test_post_that_was_not_taken_is_told_in_the_log_alone(clients, producer, caplog):
    clients.fates[b"{}"] = GONE
    producer.post([Envelope("gift.wrap", "s/wrap/do", "Wrap", "/x", "now", "{}")])
    producer.close()
    assert "not taken" in caplog.text
    assert "it took too long" in caplog.text


def test_post_beyond_those_that_may_be_on_their_way_is_refused(clients, producer):
    clients.silent = True
    clients.on_their_way = [(b"", lambda *_: None)] * (POSTED - 1)
    envelope = Envelope("gift.wrap", "s/wrap/do", "Wrap", "/x", "now", "{}")
    producer.post([envelope])
    with pytest.raises(BrokerUnavailable, match=r"^10000 messages are on their way"):
        producer.post([envelope])
    clients.silent = False
    producer.post([envelope])
    assert len(clients.produced) == 2


def test_all_that_is_on_its_way_counts_for_a_post(batched, producer):
    envelope = Envelope("gift.wrap", "s/wrap/do", "Wrap", "/x", "now", "{}")
    batched.silent = batched.together.silent = True
    producer.post([envelope] * SEVERAL)
    batched.on_their_way = [(b"", lambda *_: None)] * (POSTED - SEVERAL)
    with pytest.raises(BrokerUnavailable, match=r"^10000 messages are on their way"):
        producer.post([envelope])


def test_check_asks_the_broker_itself(producer, monkeypatch):
    asked = []

    def admin(settings):
        return SimpleNamespace(
            topics=lambda timeout: asked.append((settings.kafka_prefix, timeout))
        )

    monkeypatch.setattr(module, "Admin", admin)
    producer.check()
    assert asked == [("test.", 2)]


@pytest.mark.parametrize(("given", "waited"), [((), DELIVERY_TIMEOUT), ((0,), 0)])
def test_what_is_on_its_way_is_delivered_at_the_end(clients, producer, note, told, given, waited):
    producer.hand_over([record(1)], *note)
    producer.close(*given)
    assert told == ["taken"]
    assert clients.log == [("flush", waited)] * 2


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"kafka_bootstrap_servers": None}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_ca_location": "/no.pem"}, "ssl.ca.location"),
    ],
)
def test_settings_that_lead_to_no_broker_are_told_at_once(wrong, text):
    settings = Settings(**{"kafka_bootstrap_servers": "127.0.0.1:1", **wrong})
    with pytest.raises(BrokerUnavailable, match=text):
        Producer(settings)
