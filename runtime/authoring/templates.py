"""What `saga new function` writes: names, messages, a handler and its test, in this style."""

import re
from dataclasses import dataclass

WIDTH = 88  # columns: what formatters leave as it is, set to 88 or to 100
IRREGULAR = {
    "begin": "begun", "bring": "brought", "build": "built", "buy": "bought", "choose": "chosen",
    "do": "done", "draw": "drawn", "drive": "driven", "find": "found", "get": "got",
    "give": "given", "hold": "held", "keep": "kept", "lend": "lent", "make": "made",
    "pay": "paid", "put": "put", "read": "read", "run": "run", "sell": "sold", "send": "sent",
    "set": "set", "spend": "spent", "split": "split", "take": "taken", "tell": "told",
    "withdraw": "withdrawn", "write": "written",
}  # fmt: skip
DOUBLING = {"cancel", "commit", "refer", "submit", "transfer"}


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
        """The event's class, in the past tense: `GiftWrapped`."""
        verb, _, rest = self.name.partition("_")
        return _camel(rest) + _camel(_past(verb))

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
    """What `{words.command}` asks for is done."""

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


def snake(name: str) -> str:
    """Return the name of the step, and of the function, that a command of this name is for."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _past(verb: str) -> str:
    """Put a verb into the past: right for most, and a name to be changed for the rest."""
    if verb in IRREGULAR:
        return IRREGULAR[verb]
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    if verb in DOUBLING or re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ed"
    return verb + "ed"
