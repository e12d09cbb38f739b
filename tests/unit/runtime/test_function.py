"""What the decorator accepts, and what it says about the rest."""

import importlib
import math
import sys
import types

import peewee
import pytest

from saga.runtime import Command, Event, Message, Saga, Step, Table, function
from saga.runtime.errors import ContractError
from saga.runtime.inbox import InboxRow
from saga.runtime.saga_host import load_saga
from saga.runtime.saga_store import TABLES

# `saga.runtime.function` is the decorator; its module hides behind it.
module = importlib.import_module("saga.runtime.function")


class Baked(Event, topic="unit.baked"):
    pass


class Bake(Command, topic="unit.bake", event=Baked):
    pass


class Begin(Message):
    pass


SAGA = Saga("unit", start=Begin, steps=[Step(Bake)])


@pytest.fixture(autouse=True)
def _empty_registry(monkeypatch):
    monkeypatch.setattr(module, "_registry", {})


@pytest.fixture
def in_module(monkeypatch):
    """Place a handler in a module of the given name, as if it had been imported from there."""

    def place(name, *handlers):
        made = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made)
        for handler in handlers:
            handler.__module__ = name
            setattr(made, handler.__name__, handler)
        return made

    return place


def bake(command: Bake) -> Baked:
    return Baked()


def make_bake():
    def bake(command: Bake) -> Baked:
        return Baked()

    return bake


def test_handler_stays_as_it_is(in_module):
    handler = make_bake()
    in_module("bakery.oven.bake", handler)
    assert function(handler) is handler


def test_annotations_declare_the_function(in_module):
    in_module("bakery.oven.bake", handler := make_bake())
    function(handler)
    declared = module.load("bakery.oven.bake")
    assert declared.name == "oven.bake"
    assert declared.service == "oven"
    assert declared.kind == "command"
    assert declared.topics == ("unit.bake",)
    assert declared.command is Bake
    assert (declared.outside, declared.keyed) == (False, False)


def test_saga_is_hosted_by_the_module_of_its_name(in_module):
    in_module("bakery.chef.breakfast").breakfast = SAGA
    hosted = load_saga("bakery.chef.breakfast")
    assert (hosted.name, hosted.saga) == ("chef.breakfast", SAGA)
    assert hosted.topics == ("unit.baked",)
    assert hosted.tables() == TABLES


def test_module_without_a_saga_of_its_name_hosts_none(in_module):
    in_module("bakery.chef.lunch").breakfast = SAGA
    with pytest.raises(ContractError, match=r"no saga of its own name: lunch = Saga\("):
        load_saga("bakery.chef.lunch")


def test_function_with_a_period_is_a_timer(in_module):
    def sweep(now):
        return []

    in_module("bakery.chef.sweep", sweep)
    function(every=0.5)(sweep)
    declared = module.load("bakery.chef.sweep")
    assert (declared.kind, declared.topics, declared.every) == ("timer", (), 0.5)


@pytest.mark.parametrize("every", [0, -1, math.nan, math.inf, "1"])
def test_timer_that_never_or_always_ticks_is_refused(every):
    def wipe(now): ...

    with pytest.raises(ContractError, match=r"wipe: every is .*: give seconds, above 0"):
        function(every=every)(wipe)


def test_handler_that_acts_outside_may_take_a_key(in_module):
    def pay(command: Bake, key: str) -> Baked: ...

    in_module("bakery.oven.pay", pay)
    function(outside=True)(pay)
    declared = module.load("bakery.oven.pay")
    assert (declared.outside, declared.keyed) == (True, True)


def test_handler_that_acts_outside_needs_no_key(in_module):
    in_module("bakery.oven.bake", handler := make_bake())
    function(outside=True, timeout=3.0)(handler)
    declared = module.load("bakery.oven.bake")
    assert (declared.outside, declared.keyed, declared.timeout) == (True, False, 3.0)


def test_key_is_for_what_acts_outside():
    def pay(command: Bake, key: str) -> Baked: ...

    with pytest.raises(ContractError, match=r"pay takes a key .*: @function\(outside=True\)"):
        function(pay)


def test_timer_has_no_undo_to_say_outside_to():
    def sweep(now): ...

    with pytest.raises(ContractError, match=r"sweep: outside=True .* not for a timer"):
        function(every=1.0, outside=True)(sweep)


def no_parameter() -> Baked: ...
def two_parameters(command: Bake, other: int) -> Baked: ...
def odd_key(command: Bake, key: int) -> Baked: ...
def odd_name(command: Bake, token: str) -> Baked: ...
def no_annotation(command) -> Baked: ...
def takes_an_event(command: Baked) -> Baked: ...
def takes_an_instance(command: "Bake | None") -> Baked: ...


@pytest.mark.parametrize(
    "handler",
    [
        no_parameter,
        two_parameters,
        odd_key,
        odd_name,
        no_annotation,
        takes_an_event,
        takes_an_instance,
    ],
)
def test_handler_must_take_one_command(handler):
    with pytest.raises(ContractError, match=rf"{handler.__name__} must take one command"):
        function(handler)


def returns_nothing(command: Bake) -> None: ...
def returns_unknown(command: Bake): ...
def returns_a_command(command: Bake) -> Bake: ...
def returns_any_event(command: Bake) -> Event: ...


@pytest.mark.parametrize(
    "handler", [returns_nothing, returns_unknown, returns_a_command, returns_any_event]
)
def test_handler_must_return_its_commands_event(handler):
    expected = rf"{handler.__name__} must return Baked, which Bake declares"
    with pytest.raises(ContractError, match=expected):
        function(handler)


def test_two_functions_of_one_name_are_refused(in_module):
    in_module("bakery.oven.first", first := make_bake())
    in_module("pizzeria.oven.second", second := make_bake())
    function(first)
    with pytest.raises(ContractError, match=r"oven\.bake: they would share a consumer group"):
        function(second)


def test_module_imported_again_declares_its_function_again(in_module):
    in_module("bakery.oven.bake", first := make_bake())
    function(first)
    in_module("bakery.oven.bake", second := make_bake())
    function(second)
    assert module.load("bakery.oven.bake").handler is second


def test_module_without_a_function_is_refused(in_module):
    in_module("bakery.oven.empty")
    with pytest.raises(ContractError, match="declares 0 functions; one file holds one"):
        module.load("bakery.oven.empty")


def test_module_with_two_functions_is_refused(in_module):
    def toast(command: Bake) -> Baked: ...

    in_module("bakery.oven.both", handler := make_bake(), toast)
    function(handler)
    function(toast)
    with pytest.raises(ContractError, match="declares 2 functions; one file holds one"):
        module.load("bakery.oven.both")


def test_tables_are_the_inbox_and_those_of_the_services_store(in_module):
    class Bread(Table):
        weight = peewee.IntegerField()

    in_module("bakery.oven").__path__ = []
    in_module("bakery.oven.store").Bread = Bread
    in_module("bakery.oven.bake", handler := make_bake())
    function(handler)
    assert module.load("bakery.oven.bake").tables() == [InboxRow, Bread]


def test_service_without_a_store_has_an_inbox(in_module):
    in_module("bakery").__path__ = []
    in_module("bakery.oven").__path__ = []
    in_module("bakery.oven.bake", handler := make_bake())
    function(handler)
    assert module.load("bakery.oven.bake").tables() == [InboxRow]
