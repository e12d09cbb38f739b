"""What `saga new function` writes: names, messages, a handler and its test, in this style."""

from dataclasses import dataclass

WIDTH = 88  # columns: what formatters leave as it is, set to 88 or to 100


@dataclass(frozen=True, slots=True)
class Words:
    """What a function and all that belongs to it are called."""

    service: str
    name: str

    @property
    def command(self) -> str:
        """The command's class: `WrapGift`."""
        return _camel(self.name)

    @property
    def event(self) -> str:
        """The event's class, until it gets a name of its own: `WrapGiftDone`."""
        return f"{self.command}Done"

    @property
    def topic(self) -> str:
        """The command's topic, which need not say the service twice: `gift.wrap`."""
        return f"{self.service}.{self.name.removesuffix(f'_{self.service}')}"

    @property
    def sentence(self) -> str:
        """The name as words: `Wrap gift`."""
        return self.name.replace("_", " ").capitalize()


def message_text(words: Words) -> str:
    """Write a command and its event, to stand below other classes."""
    event = _fit(f"class {words.event}(", ["Event", f'topic="{words.service}.events"'], "):")
    arguments = ["Command", f'topic="{words.topic}"', f"event={words.event}"]
    command = _fit(f"class {words.command}(", arguments, "):")
    return f'''

{event}
    """What `{words.command}` asks for is done.

    Name it as the business says it, in the past tense.
    """

    saga_id: str


{command}
    """{words.sentence}."""

    saga_id: str
'''


def handler_text(words: Words) -> str:
    """Write the function's file."""
    runtime = import_line("saga.runtime", "function")
    imports = f"{runtime}\n{import_line('.messages', words.command, words.event)}"
    head = _fit(f"def {words.name}(", [f"command: {words.command}"], f") -> {words.event}:")
    return f'''"""{words.sentence}."""

{imports}

@function
{head}
    """Tell that it is done; a business "no" is `raise Rejected(code, message)`."""
    return {words.event}(saga_id=command.saga_id)
'''


def plain_test(words: Words, package: str) -> str:
    """Write the function's test."""
    imports = sorted(
        [
            import_line(f"{package}.messages", words.command, words.event),
            import_line(f"{package}.{words.name}", words.name),
        ]
    )
    return f'''"""`{words.name}`, as a plain call."""

{"".join(imports)}

def test_{words.name}() -> None:
    command = {words.command}(saga_id="1")
    event = {words.name}(command)
    assert event == {words.event}(saga_id="1")
'''


def import_line(module: str, *names: str) -> str:
    """Write an import as isort and formatters of any common width leave it."""
    ordered = sorted(names, key=lambda name: (name[0].islower(), name.lower()))
    line = f"from {module} import {', '.join(ordered)}"
    return (line if len(line) <= WIDTH else _fit(f"from {module} import (", ordered, ")")) + "\n"


def _fit(head: str, arguments: list[str], tail: str) -> str:
    """Write on one line, or with a line for each argument and a comma that keeps it so."""
    line = f"{head}{', '.join(arguments)}{tail}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([head, *(f"    {argument}," for argument in arguments), tail])


def _camel(words: str) -> str:
    return "".join(word.capitalize() for word in words.split("_"))
