"""The ports of adapters: each is listened on once, and left when no adapter is there."""

import socket

import pytest

from saga.runtime.errors import StackError
from saga.runtime.system.listening import Listening
from saga.runtime.system.stack import Stack
from support.ports import free_port


def shop(port, service="shop"):
    return Stack(service=service, package="shop", database="shop", adapter="shop.http", port=port)


def test_all_adapters_of_a_port_get_one_socket_until_it_is_left():
    listening, stack, other = Listening("127.0.0.1"), shop(free_port()), shop(free_port())
    listening.on_all([stack, other, shop(None)])
    one = listening.on(stack)
    assert listening.on(stack) is one
    listening.only_on([stack.port, None])
    socket.create_connection(("127.0.0.1", stack.port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other.port))
    listening.only_on([])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stack.port))


def test_port_that_another_listens_on_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"^port {port} of shop on 127\.0\.0\.1 can't be had"):
            Listening("127.0.0.1").on(shop(port))


def test_no_two_services_answer_at_one_port_until_one_has_left_it():
    listening, port = Listening("127.0.0.1"), free_port()
    listening.on(shop(port))
    with pytest.raises(StackError, match=rf"^port {port} of bank can't be had: it is shop's"):
        listening.on(shop(port, "bank"))
    listening.only_on([])
    assert listening.on(shop(port, "bank")).getsockname()[1] == port
    listening.only_on([])
