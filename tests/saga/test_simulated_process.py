"""What becomes of a process in a simulation: it ends in good order, or its group misses it."""

from dataclasses import replace

from saga.runtime.crash import CrashPoints
from saga.runtime.envelope import Record
from saga.runtime.settings import Settings
from saga.runtime.simulation.faulty_transport import FaultyTransport
from saga.runtime.simulation.invariants import JUNK, JUNK_HEADERS
from saga.runtime.simulation.nemesis import CALM
from saga.runtime.simulation.process import SESSION, Process
from saga.runtime.simulation.simulator import Simulator
from saga.runtime.simulation.world import World
from saga.runtime.system.stack import read_stacks
from saga.stacks.simulate import Orders

CREATE = "order.create_order"


def test_one_that_is_killed_while_it_leaves_is_missed_by_its_group() -> None:
    with Simulator(Orders(read_stacks(Settings().saga_stacks))) as simulator:
        hosted, database = next(one for one in simulator.deployed if one[0].name == CREATE)
        [topic] = hosted.topics
        partitions = simulator.partitions | {topic: 1}
        world = World(seed=1, partitions=partitions, story=True)
        world.nemesis.faults = CALM
        leaver, other = (Process(name, hosted, database, world, died=print) for name in "ab")
        world.broker.append(Record(topic, None, JUNK, JUNK_HEADERS))
        while not any("dead letter" in line for line in world.story or []):
            world.pass_time(0.001)
        world.nemesis.faults = replace(CALM, crash=1.0)
        leaver.stop()
        assert "is killed after taken" in (world.story or [])[-1]
        world.nemesis.faults = CALM
        world.pass_time(SESSION[1])
        # What the one had in hand comes to the other.
        assert world.broker.unread() == 0
        assert other.alive


def test_what_there_was_no_time_for_is_in_hand_until_the_rest_is_sent() -> None:
    """A process that dies meanwhile has noted it: it counts among those who have died of it."""
    world = World(seed=1, partitions={"t": 1}, story=False)
    world.nemesis.faults = CALM
    for _ in range(3):
        world.broker.append(Record("t", None, JUNK, JUNK_HEADERS))
    transport = FaultyTransport(world, "g", ["t"], lambda _: None, CrashPoints("", None))
    batch = transport.poll(0.0)
    transport.put_back(batch[2:])  # not taken in hand at all
    assert transport.in_hand == batch[:2]
    transport.worked_off(batch[:1], [])
    transport.put_back(batch[1:2])
    transport.finish([])
    assert transport.in_hand == batch[:2]
    assert transport.poll(0.0) == batch[1:]
    transport.close()
