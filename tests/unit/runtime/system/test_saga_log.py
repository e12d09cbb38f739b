"""One saga's lines are found in all logs, and told in the order of their times."""

from saga.runtime.system.saga_log import is_json, lines_of, saga_log

SAGA, OTHER = "0199-aa", "0199-aab"


def at(second, text, *, name="a"):
    return name, f"2026-01-01T00:00:{second:02}.000000Z INFO    {text}"


def as_json(second, saga_id, *, name="a"):
    time = f"2026-01-01T00:00:{second:02}.000000Z"
    return name, f'{{"time": "{time}", "message": "m", "saga_id": "{saga_id}"}}'


def found(*lines):
    return [(line.name, line.text) for line in lines_of(SAGA, lines)]


def test_a_line_is_of_the_saga_that_it_names():
    own = at(1, f"w [{SAGA}]: baked")
    command = at(2, f"w: {SAGA}/bake/do rejected")
    assert found(own, at(1, "w: baked"), command, at(3, f"w [{OTHER}]: baked")) == [own, command]


def test_json_and_text_are_found_side_by_side():
    lines = [as_json(1, SAGA), at(2, f"w [{SAGA}]: x"), as_json(3, OTHER)]
    assert found(*lines) == lines[:2]
    assert [is_json(text) for _, text in lines] == [True, False, True]


def test_a_traceback_stays_with_its_line():
    own, others = at(1, f"w: {SAGA} failed"), at(2, f"w: {OTHER} failed")
    below = [("a", "    Traceback"), ("a", "    ValueError")]
    assert found(own, *below, others, *below) == [own, *below]
    assert found(own, at(1, "w: of another", name="b"), *below) == [own, *below]


def test_what_a_library_prints_is_nobodys_unless_it_names_the_saga():
    own, named = at(1, f"w [{SAGA}]: x"), ("a", f"lib: {SAGA}")
    assert found(own, ("a", "lib: chat"), ("a", "  more"), named, ("a", "")) == [own, named]
    assert found(own, ("a", "x "), ("a", "  more")) == [own]
    assert found(own, ("a", " x")) == [own, ("a", " x")]


def test_lines_of_many_logs_are_in_the_order_of_their_times():
    first, second, third = at(1, SAGA), as_json(2, SAGA, name="b"), at(3, SAGA)
    printed = ("b", f"printed {SAGA}")
    lines = [first, third, second, printed]
    assert [*saga_log(SAGA, lambda _: lines, follow=False)] == [first, second, printed, third]


def test_a_line_before_the_first_time_of_its_log_is_told_first():
    lines = [at(1, SAGA), ("b", f"printed {SAGA}"), ("c", "  indented")]
    assert [*saga_log(SAGA, lambda _: lines, follow=False)] == [lines[1], lines[0]]


def test_who_follows_reads_what_is_there_in_order_and_then_each_line_once():
    first, second, third = at(1, SAGA), at(2, SAGA, name="b"), at(3, SAGA)
    later = [at(1, f"late {SAGA}", name="c"), third]

    def read(follow):
        return [third, second, first, *(later if follow else [])]

    assert [*saga_log(SAGA, read, follow=True)] == [first, second, third, *later]
