"""A plan as it is printed, read back: what failed once can be tried again, whatever is drawn since."""

from __future__ import annotations

import ast
import re
from typing import Any

from plans import Plan, Step

_STEP = re.compile(r"v\d+ = (\w+)\((.*?); (.*)\)  # step \d+(?:  # the module of step (\d+))?")
_INPUT = re.compile(r"v\d+ = input(\(.*\))")


def plan_in(text: str) -> Plan:
    """Return the plan at the end of a text.

    Raises:
        ValueError: there is none.
    """
    found = re.search(r"^v0 = input\(.*", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError("no plan")
    inputs, steps, outputs, rest = [], [], (), dict[str, Any]()
    for line in found[0].strip().splitlines():
        if match := _INPUT.fullmatch(line):
            inputs.append(ast.literal_eval(match[1]))
        elif match := _STEP.fullmatch(line):
            shares = None if match[4] is None else int(match[4])
            steps.append(Step(match[1], _numbers(match[2]), _named(match[3], ", "), shares))
        elif line.startswith("return "):
            outputs = _numbers(line)
        else:
            rest = _named(line, " ")
    return Plan(tuple(inputs), tuple(steps), outputs, **rest)


def _numbers(values: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\bv(\d+)", values)))


def _named(text: str, apart: str) -> dict[str, Any]:
    pairs = (each.partition("=") for each in re.split(rf"{apart}(?=\w+=)", text) if each)
    return {name: _value(value) for name, _, value in pairs}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a word
