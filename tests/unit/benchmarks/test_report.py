"""What came out, as Markdown."""

import pytest

from benchmarks.report import Cell, cell, row, spread, surroundings, table
from saga.stacks.surroundings import Machine

MACHINE = Machine(cpu="a CPU", cores=2, memory_gib=8.0, system="Linux 6")


def a_cell(system: str = "ours", in_flight: int = 16, per_second: float = 100.0) -> Cell:
    return Cell(system, in_flight, 1000, per_second, 10.0, 20.0, {"app": 1.5, "broker": 0.5}, 2.0)


def test_cell_sums_up_a_measurement():
    latencies = [number / 1000 for number in range(1, 101)]
    found = cell("ours", 16, latencies, 2.0, {"app": 0.3, "broker": 0.1}, 2.5)
    assert (found.orders, found.per_second) == (100, 50.0)
    assert (found.p50_ms, found.p95_ms) == (50.5, 95.95)
    assert found.cpu == {"app": 3.0, "broker": 1.0}
    assert found.total_cpu == 4.0


def test_table_has_a_line_for_each_system_and_number_in_flight():
    cells = [a_cell(per_second=speed) for speed in (90.0, 110.0, 95.0)]
    lines = list(table([*cells, a_cell("dbos", 1), a_cell("ours", 1)]))
    assert lines[0].startswith("| in flight | system | sagas/s |")
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| 1", "dbos", "100 / 100 / 100"],
        ["| 1", "ours", "100 / 100 / 100"],
        ["| 16", "ours", "90 / 95 / 110"],
    ]
    assert "| 2 / 2 / 2 | app 1.50, broker 0.50 |" in lines[2]
    assert {line.count("|") for line in lines} == {9}


def test_surroundings_name_machine_versions_and_what_is_on_disk():
    lines = list(surroundings(MACHINE, "ext4", {"ours": {"python": "3.11"}}, {"ours": "all"}))
    assert lines[0] == "a CPU, 2 cores, 8 GiB, Linux 6, ext4."
    assert lines[-1] == "| ours | python 3.11 | all |"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([3, 1, 2], "1 / 2 / 3"),
        ([1234.5], "1234 / 1234 / 1234"),
        ([0.1234], "0.123 / 0.123 / 0.123"),
    ],
)
def test_spread_is_minimum_median_and_maximum(values, told):
    assert spread(values) == told


def test_row_is_one_line():
    assert row("a", 1) == "| a | 1 |"
