"""The judge finds what a client could complain about: a run that went well, and one thing wrong."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.store import Order
from saga.functions.product.store import ClosedProduct, Product, Reservation, close_product
from saga.functions.user.store import ClosedUser, Payment, User, close_user
from saga.runtime import saga_queries
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import Table
from saga.runtime.inbox import InboxRow
from saga.runtime.message import Message
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import SearchRow
from saga.runtime.saga_state import to_json
from saga.runtime.settings import Settings
from saga.runtime.simulation import Simulator, world
from saga.runtime.simulation.nemesis import Faults
from saga.runtime.system.stack import read_stacks
from saga.runtime.testing.judgement import Case, Judgement, judge, sagas_of
from saga.runtime.testing.request import Request
from saga.runtime.testing.sending import sendings
from saga.stacks import ledger
from saga.stacks.simulate import Orders

STRANGER = UUID(int=7)
FIRST = 61  # of the seeds to look at: one that has had orders of all fates, and few
FATES: Any = (("COMPLETED", ""), ("COMPENSATED", "cancelled"))  # of orders that were paid


class Shop(Orders):
    """The order system, that remembers what it was judged by."""

    requests: list[Request]
    before: ledger.Books

    def prepare(self, chance: Random) -> list[Message]:
        orders = super().prepare(chance)
        self.before = ledger.books()
        return orders

    def judge(self, requests) -> Judgement:
        self.requests = list(requests)
        self.judgement = super().judge(requests)
        return self.judgement

    def violations(self) -> list[str]:
        return ledger.violations(self.requests, self.before)

    def case(self, status: str, code: str = "") -> Case:
        cases = self.judgement.cases
        return next(c for c in cases if (c.state.status, c.code) == (status, code) and whole(c))


def whole(case: Case) -> bool:
    """Tell whether an order got as far as to be paid, by one who could pay for all."""
    rich, plenty = (case.request.wanted[name] > 2 for name in ("user_id", "product_id"))
    return rich and plenty and Payment.get_or_none(Payment.order_id == order_id(case)) is not None


def ids_of(shop: Shop) -> set[str]:
    return {case.state.id for case in shop.judgement.cases}


def order_id(case: Case) -> UUID:
    return UUID(case.state.input["order_id"])


@pytest.fixture(scope="module")
def left_behind() -> Iterator[tuple[Shop, dict[Any, sqlite3.Connection]]]:
    """A run without faults with orders of all fates, and a copy of each of its databases."""
    shop = Shop(read_stacks(Settings().saga_stacks))
    with pytest.MonkeyPatch.context() as patch, Simulator(shop) as simulator, ExitStack() as copies:
        patch.setattr(world, "draw", lambda _: Faults(cancel=0.3))
        for seed in count(FIRST):
            simulator.run(seed)
            fates = Counter((c.state.status, c.code) for c in shop.judgement.cases if whole(c))
            if all(fates[fate] for fate in FATES):
                break
        databases = {tables[0]._meta.database for tables in ledger.TABLES.values()}
        copied = {
            database: copies.enter_context(closing(sqlite3.connect(":memory:")))
            for database in databases
        }
        for database, copy in copied.items():
            database.connection().backup(copy)
        yield shop, copied


@pytest.fixture
def shop(left_behind: tuple[Shop, dict[Any, sqlite3.Connection]]) -> Shop:
    """What that run has left behind: nothing is wrong with it yet."""
    original, copied = left_behind
    for database, copy in copied.items():
        copy.backup(database.connection())
    shop = deepcopy(original)
    assert shop.violations() == []
    return shop


def found(shop: Shop, text: str) -> bool:
    return any(re.search(text, violation) for violation in shop.violations())


def change_state(case: Case, **changes: object) -> None:
    row = SagaRow.get_by_id(case.state.id)
    row.state = json.dumps(json.loads(row.state) | changes)
    row.status = json.loads(row.state)["status"]
    row.save()


def copy_of(case: Case) -> str:
    """Let another saga stand beside a request's own."""
    row = SagaRow.get_by_id(case.state.id)
    other = str(STRANGER)
    state = json.dumps(json.loads(row.state) | {"id": other})
    SagaRow.create(id=other, name=row.name, status=row.status, state=state)
    return other


def test_every_fate_is_there_and_counted(shop: Shop) -> None:
    seen = shop.judgement.seen
    assert {"completed", "compensated", "cancels", "refunds", "releases"} <= (+seen).keys()
    assert seen["completed"] + seen["compensated"] == len(shop.requests)
    codes = Counter(case.code for case in shop.judgement.cases)
    assert (seen["cancels"], seen["retries"]) == (codes["cancelled"], 0)
    assert seen["refunds"] == Payment.select().where(Payment.refunded).count()
    assert seen["releases"] == Reservation.select().where(Reservation.released).count()
    assert seen["refunds"] < Payment.select().count()
    assert seen["releases"] < Reservation.select().count()


def test_requests_that_were_repeated_or_read_again_are_counted(shop: Shop) -> None:
    for request in shop.requests:
        request.tries, request.reads = 1, 0
    shop.requests[0].tries, shop.requests[1].reads = 2, 1
    seen = ledger.judge_orders(shop.requests, shop.before).seen
    assert (seen["repeated requests"], seen["read again"]) == (1, 1)


@pytest.mark.parametrize("again", [["1R timeout"], ["1R Fault", "1R Fault"]])
def test_saga_that_tried_a_step_again_is_a_retry(shop: Shop, again: list[str]) -> None:
    assert ledger.judge_orders(shop.requests, shop.before).seen["retries"] == 0
    case = shop.case("COMPLETED")
    first, second, *rest = json.loads(to_json(case.state))["history"]
    more = [[second[0], word] for word in again]
    change_state(case, history=[first, second, *more, *rest])
    assert ledger.judge_orders(shop.requests, shop.before).seen["retries"] == 1


def test_accepted_order_without_a_saga_is_found(shop: Shop) -> None:
    shop.requests[0].told = [str(STRANGER)]
    assert found(shop, "accepted, but there is no row")


def test_request_that_started_two_sagas_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    case.request.told.append(copy_of(case))
    assert found(shop, "one request started 2 sagas")


def test_second_saga_that_the_client_does_not_know_is_found(shop: Shop) -> None:
    copy_of(shop.case("COMPLETED"))
    assert found(shop, f"saga {STRANGER}: nobody asked for it")


def test_saga_given_to_two_clients_is_found(shop: Shop) -> None:
    shop.requests[1].told = shop.requests[0].told
    assert found(shop, "2 clients were given it")


def test_saga_that_ended_another_way_than_its_client_heard_is_found(shop: Shop) -> None:
    case = shop.case("COMPENSATED", "cancelled")
    case.request.heard = "COMPENSATING"
    assert shop.violations() == []
    case.request.heard = "COMPLETED"
    assert found(shop, "is COMPENSATED, and its client has heard that it is COMPLETED")


def test_saga_that_hangs_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    change_state(case, status="RUNNING")
    assert found(shop, f"^saga {case.state.id}: has not ended: RUNNING")


def test_sagas_of_other_declarations_are_not_judged(shop: Shop) -> None:
    other = copy_of(shop.case("COMPLETED"))
    SagaRow.update(name="another").where(SagaRow.id == other).execute()
    assert shop.violations() == []
    assert sagas_of(place_order, ledger.sagas()) == ids_of(shop)


def test_sagas_are_read_from_the_database_that_is_named(shop: Shop) -> None:
    database, empty = ledger.sagas(), connect("sqlite://")
    with empty.bind_ctx([SagaRow, SearchRow]):
        empty.create_tables([SagaRow, SearchRow])
        found = judge(place_order, database, shop.requests, shop.before.sagas)
        assert sagas_of(place_order, database) == ids_of(shop)
    empty.close()
    assert found.violations == []
    assert {case.state.id for case in found.cases} == ids_of(shop)


def test_saga_that_failed_is_found(shop: Shop) -> None:
    change_state(shop.case("COMPENSATED", "cancelled"), status="FAILED")
    assert found(shop, "has not ended: FAILED")


def test_saga_that_cannot_be_read_is_found(shop: Shop) -> None:
    first = min(ids_of(shop))
    SagaRow.update(state="{}").where(SagaRow.id == first).execute()
    missing = [text for text in shop.violations() if "there is no row" in text]
    assert missing == [f"saga {first}: accepted, but there is no row"]
    assert found(shop, f"saga {first}: can't be read")


def test_saga_whose_client_has_had_no_answer_is_known_by_its_key(shop: Shop) -> None:
    shop.requests[0].told = []
    assert shop.violations() == []
    shop.requests[0].key = None
    assert found(shop, "nobody asked for it")


def test_status_that_differs_from_its_column_is_found(shop: Shop) -> None:
    SagaRow.update(status="FAILED").where(SagaRow.id == shop.requests[0].saga_id).execute()
    assert found(shop, "and its column FAILED")


def test_saga_that_is_due_after_its_end_is_found(shop: Shop) -> None:
    row = SagaRow.get_by_id(shop.case("COMPLETED").state.id)
    SagaRow.update(due_at=world.BEGINNING).where(SagaRow.id == row.id).execute()
    assert found(shop, f"saga {row.id}: is due at None, and its column 2026-01-01")


def test_row_that_does_not_fit_together_is_found(shop: Shop) -> None:
    change_state(shop.case("COMPLETED"), awaiting=True)
    assert found(shop, "has ended, and still waits")


def test_order_that_was_not_updated_is_found(shop: Shop) -> None:
    Order.update(updated_at=Order.created_at).where(Order.status == "CANCELLED").execute()
    assert found(shop, "its order is CANCELLED, and was not updated")


@pytest.mark.parametrize("table", [Order, Reservation, Payment])
def test_completed_order_that_lacks_an_effect_is_found(shop: Shop, table: type[Table]) -> None:
    key = "id" if table is Order else "order_id"
    table.delete().where(getattr(table, key) == order_id(shop.case("COMPLETED"))).execute()
    assert found(shop, f"COMPLETED without {table.__name__.lower()}")


def test_completed_order_without_saga_is_found(shop: Shop) -> None:
    row = {"user_id": 3, "product_id": 3, "quantity": 1, "status": "COMPLETED"}
    Order.create(id=STRANGER, saga_id=STRANGER, **row)
    assert found(shop, f"order {STRANGER}: nobody asked for it")


def test_order_placed_without_a_saga_is_nobodys_fault(shop: Shop) -> None:
    Order.create(id=STRANGER, user_id=3, product_id=3, quantity=1)
    assert shop.violations() == []


@pytest.mark.parametrize(
    "held",
    [
        lambda: Reservation.create(order_id=STRANGER, product_id=3, quantity=1, released=True),
        lambda: Payment.create(order_id=STRANGER, user_id=3, amount=Decimal(1), refunded=True),
    ],
)
def test_effect_of_no_order_is_found(shop: Shop, held) -> None:
    held()
    assert found(shop, f"order {STRANGER}: nobody asked for it")


def test_charge_of_another_user_is_found(shop: Shop) -> None:
    User.update(balance=User.balance + 1).where(User.id == 3).execute()
    User.update(balance=User.balance - 1).where(User.id == 4).execute()
    assert found(shop, "money of user 3")
    assert found(shop, "money of user 4")


def test_units_of_another_product_are_found(shop: Shop) -> None:
    Product.update(stock=Product.stock + 1).where(Product.id == 3).execute()
    Product.update(stock=Product.stock - 1).where(Product.id == 4).execute()
    assert found(shop, "units of product 3")
    assert found(shop, "units of product 4")


def test_user_that_is_gone_is_found(shop: Shop) -> None:
    User.delete().where(User.id == 3).execute()
    assert found(shop, "money of user 3 was .* and is None")


def test_less_than_nothing_is_found(shop: Shop) -> None:
    database = Product._meta.database
    database.execute_sql("PRAGMA ignore_check_constraints = ON")
    hole = Product.create(name="hole", price=Decimal(1), stock=-1)
    database.execute_sql("PRAGMA ignore_check_constraints = OFF")
    assert found(shop, f"units of product {hole.id}: -1 is free")


def test_total_of_too_few_units_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    less = Decimal("0.01")
    Payment.update(amount=less).where(Payment.order_id == order_id(case)).execute()
    Order.update(total=less).where(Order.id == order_id(case)).execute()
    assert found(shop, "the amount of its payment is 0.01, not")
    assert found(shop, "the total of its order is 0.01, not")


@pytest.mark.parametrize("name", ["user_id", "product_id", "quantity"])
def test_saga_that_is_not_the_one_asked_for_is_found(shop: Shop, name: str) -> None:
    shop.requests[0].wanted[name] += 1
    assert found(shop, "asked was")


@pytest.mark.parametrize("order_id", ["no id", None, [7]])
def test_saga_of_no_order_is_found(shop: Shop, order_id: object) -> None:
    case = shop.case("COMPLETED")
    change_state(case, input=case.state.input | {"order_id": order_id})
    assert found(shop, f"saga {case.state.id}: COMPLETED without order")


def test_input_that_nobody_has_given_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    change_state(case, input=case.state.input | {"total": "9.99"})
    assert found(shop, "has total in its input")


@pytest.mark.parametrize("name", ["user_id", "product_id", "quantity", "saga_id"])
def test_order_that_is_not_the_one_asked_for_is_found(shop: Shop, name: str) -> None:
    other = STRANGER if name == "saga_id" else 4711
    Order.update({name: other}).where(Order.id == order_id(shop.case("COMPLETED"))).execute()
    assert found(shop, f"the {name} of its order is")


@pytest.mark.parametrize("name", ["product_id", "quantity"])
def test_reservation_that_is_not_the_one_asked_for_is_found(shop: Shop, name: str) -> None:
    case = shop.case("COMPLETED")
    Reservation.update({name: 4711}).where(Reservation.order_id == order_id(case)).execute()
    assert found(shop, f"the {name} of its reservation is")


def test_payment_of_another_user_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    Payment.update(user_id=4711).where(Payment.order_id == order_id(case)).execute()
    assert found(shop, f"^saga {case.state.id}: the user_id of its payment is 4711")


@pytest.mark.parametrize(
    ("status", "table", "change", "text"),
    [
        ("COMPLETED", Order, {"status": "CANCELLED"}, "the status of its order is CANCELLED"),
        ("COMPLETED", Order, {"status": "PENDING"}, "the status of its order is PENDING"),
        ("COMPLETED", Reservation, {"released": True}, "released of its reservation is True"),
        ("COMPLETED", Payment, {"refunded": True}, "refunded of its payment is True"),
        ("COMPENSATED", Order, {"status": "COMPLETED"}, "the status of its order is COMPLETED"),
        ("COMPENSATED", Reservation, {"released": False}, "released of its reservation is False"),
        ("COMPENSATED", Payment, {"refunded": False}, "refunded of its payment is False"),
    ],
)
def test_effect_that_does_not_fit_the_end_is_found(
    shop: Shop, status: str, table: type[Table], change: dict[str, object], text: str
) -> None:
    case = shop.case(status, "cancelled" if status == "COMPENSATED" else "")
    key = table.id if table is Order else table.order_id
    table.update(change).where(key == order_id(case)).execute()
    assert found(shop, text)


@pytest.mark.parametrize(
    "code",
    ["insufficient_stock", "product_not_found", "insufficient_funds", "user_not_found", "weather"],
)
def test_order_compensated_for_no_reason_is_found(shop: Shop, code: str) -> None:
    case = shop.case("COMPENSATED", "cancelled")
    failure = {"step": "process_payment", "code": code, "message": ""}
    change_state(case, failure=failure)
    refused = f"refused in process_payment by {code}"
    assert found(shop, f"^saga {case.state.id}: {refused}, for which there is no reason$")


@pytest.mark.parametrize(
    ("code", "name"), [("insufficient_stock", "product_id"), ("insufficient_funds", "user_id")]
)
def test_one_who_is_not_there_has_not_too_little(shop: Shop, code: str, name: str) -> None:
    case = shop.case("COMPENSATED", "cancelled")
    case.request.wanted[name] = 4711
    failure = {"step": "process_payment", "code": code, "message": ""}
    change_state(case, failure=failure)
    refused = f"refused in process_payment by {code}"
    assert found(shop, f"^saga {case.state.id}: {refused}, for which there is no reason$")


def test_cancellation_that_nobody_asked_for_is_found(shop: Shop) -> None:
    shop.case("COMPENSATED", "cancelled").request.cancel = "no"
    assert found(shop, "cancelled, which nobody asked for$")


def test_cancellation_without_an_answer_may_be_heard_or_not(shop: Shop) -> None:
    shop.case("COMPENSATED", "cancelled").request.cancel = "asked"
    shop.case("COMPLETED").request.cancel = "asked"
    assert shop.violations() == []


def test_accepted_cancellation_of_a_completed_order_is_found(shop: Shop) -> None:
    shop.case("COMPLETED").request.cancel = "accepted"
    assert found(shop, "COMPLETED, though its cancellation was accepted$")


def test_saga_that_gave_up_too_early_is_found(shop: Shop) -> None:
    case = shop.case("COMPENSATED", "cancelled")
    for code, text in (
        ("attempts_exhausted", "gave process_payment up after 1 of 5 attempts"),
        ("deadline_exceeded", "gave up at .*, before its deadline"),
    ):
        failure = {"step": "process_payment", "code": code, "message": ""}
        change_state(case, failure=failure)
        assert found(shop, text)
        assert not found(shop, "there is no reason")


def test_too_many_that_gave_up_are_found(shop: Shop) -> None:
    number = len(shop.requests)
    for several, case in enumerate(shop.judgement.cases, start=1):
        failure = {"step": "create_order", "code": "deadline_exceeded", "message": ""}
        change_state(case, failure=failure)
        # Two may, however few there are.
        assert found(shop, f"^{several} of {number} sagas gave up") == (several > 2)


def test_share_that_may_give_up_counts_among_many(shop: Shop) -> None:
    for case in shop.judgement.cases:
        failure = {"step": "create_order", "code": "deadline_exceeded", "message": ""}
        change_state(case, failure=failure)

    def too_many(excused: float) -> bool:
        judgement = ledger.judge_orders(shop.requests, shop.before, excused=excused)
        return any("sagas gave up" in text for text in judgement.violations)

    assert [too_many(share) for share in (0.0, 0.9, 1.0)] == [True, True, False]


def test_attempt_that_was_not_made_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    steps = json.loads(to_json(case.state))["steps"]
    steps[0]["attempts"] = 3
    change_state(case, steps=steps)
    assert found(shop, "create_order counts 3 attempts RUNNING, of 1 made")


@pytest.mark.parametrize(
    ("table", "step"),
    [(Order, "create_order"), (Product, "reserve_product"), (User, "process_payment")],
)
def test_fences_and_duplicates_are_counted_by_the_answers_in_the_inboxes(
    shop: Shop, table: type[Table], step: str
) -> None:
    case = shop.case("COMPLETED")
    sent_at = next(one.at for one in sendings(case.path) if one.step == step)

    def seen(**changes: str) -> tuple[int, int]:
        query = InboxRow.update(**changes).where(InboxRow.id == f"{case.state.id}/{step}/do")
        assert query.bind(table._meta.database).execute() == 1
        counted = ledger.judge_orders(shop.requests, shop.before).seen
        return counted["fences"], counted["duplicates"]

    fences, duplicates = seen(type="Done")
    assert duplicates == 0
    assert seen(type="Fenced") == (fences + 1, 0)
    assert seen(type="Done", time=sent_at.isoformat()) == (fences, 0)
    assert seen(time=(sent_at - timedelta(microseconds=1)).isoformat()) == (fences, 1)


def test_answers_to_strangers_are_not_counted(shop: Shop) -> None:
    fences = ledger.judge_orders(shop.requests, shop.before).seen["fences"]
    row = InboxRow.select().bind(User._meta.database).first()
    stranger = UUID(int=7 << 124)  # which SQLite takes for a number above 0
    fields = {"id": f"{stranger}/process_payment/do", "type": "Fenced", "time": row.time}
    fields |= {name: getattr(row, name) for name in ("outcome", "data")}
    InboxRow.insert(fields).bind(User._meta.database).execute()
    assert ledger.judge_orders(shop.requests, shop.before).seen["fences"] == fences


def test_kind_of_which_nothing_was_seen_is_told() -> None:
    seen = {**dict.fromkeys(ledger.KINDS, 1), "kills": 2}
    assert ledger.unseen(seen, "kills") == []
    assert ledger.unseen({**seen, "fences": 0}, "kills", "reads") == ["fences", "reads"]


def test_what_has_no_price_costs_nothing(shop: Shop) -> None:
    shop.before = replace(shop.before, prices={})
    assert found(shop, r"the total of its order is \S+, not 0$")
    assert found(shop, r"the amount of its payment is \S+, not 0$")


@pytest.mark.parametrize(
    ("step", "code", "units", "money", "right"),
    [
        ("reserve_product", "product_not_found", None, 0, True),
        ("reserve_product", "product_not_found", 0, 0, False),
        ("reserve_product", "insufficient_stock", -1, 0, True),
        ("reserve_product", "insufficient_stock", 0, 0, False),
        ("process_payment", "user_not_found", 0, None, True),
        ("process_payment", "user_not_found", 0, 0, False),
        ("process_payment", "insufficient_funds", 0, -1, True),
        ("process_payment", "insufficient_funds", 0, 0, False),
    ],
)
def test_refusal_needs_its_reason(
    shop: Shop, step: str, code: str, units: int | None, money: int | None, right: bool
) -> None:
    """There is as much as all have asked for, or `units` or `money` more than that, or nothing."""
    case = shop.case("COMPENSATED", "cancelled")
    change_state(case, failure={"step": step, "code": code, "message": ""})
    stocks, balances = dict(shop.before.stocks), dict(shop.before.balances)
    product, user = (case.request.wanted[name] for name in ("product_id", "user_id"))
    everything = [request.wanted for request in shop.requests]
    del stocks[product], balances[user]
    if units is not None:
        stocks[product] = units + sum(
            wanted["quantity"] for wanted in everything if wanted["product_id"] == product
        )
    if money is not None:
        balances[user] = money + sum(
            shop.before.prices.get(wanted["product_id"], Decimal(0)) * wanted["quantity"]
            for wanted in everything
            if wanted["user_id"] == user
        )
    shop.before = replace(shop.before, stocks=stocks, balances=balances)
    assert found(shop, f"^saga {case.state.id}: refused in {step} by {code}") is not right


def close_all() -> None:
    for table, close in ((User, close_user), (Product, close_product)):
        for row in table.select():
            close(row)
            row.delete_instance()


def test_what_closed_ones_have_is_counted(shop: Shop) -> None:
    close_all()
    assert shop.violations() == []
    shop.before = ledger.books()
    assert (shop.before.balances, shop.before.stocks) == ({}, {})
    ClosedUser.update(balance=ClosedUser.balance + 1).where(ClosedUser.id == 3).execute()
    assert found(shop, "^sums: money of user 3 was")
    ClosedProduct.update(stock=ClosedProduct.stock + 1).where(ClosedProduct.id == 4).execute()
    assert found(shop, "^sums: units of product 4 was")


@pytest.mark.parametrize(
    ("step", "code"),
    [("reserve_product", "product_not_found"), ("process_payment", "user_not_found")],
)
def test_who_was_closed_since_may_be_missed(shop: Shop, step: str, code: str) -> None:
    case = shop.case("COMPENSATED", "cancelled")
    change_state(case, failure={"step": step, "code": code, "message": ""})
    assert found(shop, f"refused in {step} by {code}")
    close_all()
    assert not found(shop, f"refused in {step} by {code}")


@pytest.mark.parametrize("changes", [{"saga_id": STRANGER}, {"status": "COMPLETED"}])
def test_order_alone_that_has_a_saga_or_an_end_is_found(
    shop: Shop, changes: dict[str, Any]
) -> None:
    fields = {"id": STRANGER, "user_id": 3, "product_id": 3, "quantity": 1}
    Order.create(**fields)
    assert shop.violations() == []
    Order.update(**changes).where(Order.id == STRANGER).execute()
    assert found(shop, f"^order {STRANGER}: nobody asked for it$")


def test_order_that_waits_need_not_be_updated(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    changed = Order.update(status="PENDING", updated_at=Order.created_at)
    changed.where(Order.id == order_id(case)).execute()
    assert found(shop, f"^saga {case.state.id}: the status of its order is PENDING")
    assert not found(shop, "was not updated")


def test_saga_without_history_is_found(shop: Shop) -> None:
    change_state(shop.case("COMPLETED"), history=())
    assert found(shop, "has no history")


def test_saga_that_cannot_be_searched_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    SearchRow.delete().where(SearchRow.saga_id == case.state.id).execute()
    told = rf"is found by \[\], not by .*/order_id/{order_id(case)}.*/user_id/"
    assert found(shop, f"^saga {case.state.id}: {told}")


def test_saga_that_is_found_by_another_user_is_found(shop: Shop) -> None:
    case = shop.case("COMPLETED")
    SearchRow.create(key="place-order/user_id/4711", saga_id=case.state.id)
    assert found(shop, "is found by .*/user_id/4711")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda ids: ids[:-1], "is 0 times on the pages of the list"),
        (lambda ids: [*ids, str(STRANGER)], f"saga {STRANGER}: is 1 times on the pages"),
        (lambda ids: ids[:1] * 2 + ids[1:], "is 2 times on the pages of the list"),
        (lambda ids: ids[::-1], "^the list is not in the order of its ids$"),
    ],
)
def test_list_that_shows_other_sagas_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, change: Any, text: str
) -> None:
    states = {case.state.id: case.state for case in shop.judgement.cases}
    states[str(STRANGER)] = replace(shop.case("COMPLETED").state, id=str(STRANGER))
    shown = [states[saga_id] for saga_id in change(sorted(ids_of(shop)))]
    pages = iter([shown[:2], shown[2:]])
    monkeypatch.setattr(saga_queries, "page", lambda *_, **__: next(pages, []))
    assert found(shop, text)


def test_refusal_by_another_service_is_found(shop: Shop) -> None:
    shop.before = replace(shop.before, balances=dict.fromkeys(shop.before.balances, Decimal(0)))
    case = shop.case("COMPENSATED", "cancelled")
    failure = {"step": "reserve_product", "code": "insufficient_funds", "message": ""}
    change_state(case, failure=failure)
    assert found(shop, "reserve_product by insufficient_funds, for which there is no reason")


def test_sagas_are_judged_by_the_declaration_that_is_given(shop: Shop) -> None:
    assert ledger.violations(shop.requests, shop.before, place_order) == []
    found = ledger.violations(shop.requests, shop.before, replace(place_order, name="another"))
    assert len([text for text in found if "there is no row" in text]) == len(shop.requests)


def test_tables_are_bound_to_the_databases_of_the_settings(tmp_path: Path) -> None:
    tables = [table for tables in ledger.TABLES.values() for table in tables]
    before = {table: table._meta.database for table in tables}
    try:
        ledger.open_databases(Settings(saga_data=tmp_path))
        for service, its in ledger.TABLES.items():
            [database] = {table._meta.database for table in its}
            assert database.database == str(tmp_path / f"{service}.db")
            database.close()
    finally:
        for table, database in before.items():
            table.bind(database)


def test_what_was_there_before_is_not_judged(shop: Shop) -> None:
    Order.create(id=STRANGER, saga_id=STRANGER, user_id=3, product_id=3, quantity=1)
    copy_of(shop.case("COMPLETED"))
    shop.before = ledger.books()
    shop.requests = []
    assert shop.violations() == []


@pytest.mark.parametrize("status", ["RUNNING", "COMPENSATING", "UNREADABLE"])
def test_what_is_in_flight_is_counted_from_its_beginning(shop: Shop, status: str) -> None:
    assert ledger.in_flight(shop.before) == 0
    change_state(shop.case("COMPLETED"), status=status)
    assert ledger.in_flight(shop.before) == 1
    assert ledger.in_flight(ledger.books()) == 0
