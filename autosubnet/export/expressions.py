"""A document's arguments and calls as Python expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autosubnet.export.values import Json

_WIDTH = 100
_INFIX = {
    "add": "+", "and_": "&", "eq": "==", "floordiv": "//", "ge": ">=", "gt": ">", "le": "<=", "lshift": "<<",
    "lt": "<", "matmul": "@", "mod": "%", "mul": "*", "ne": "!=", "or_": "|", "pow": "**", "rshift": ">>",
    "sub": "-", "truediv": "/", "xor": "^",
}  # fmt: skip


def constant(data: Json, names: Mapping[str, str]) -> str:
    """Return an encoded argument as an expression; ``names`` holds what to write for each node."""
    if isinstance(data, str):
        return quoted(data)
    if not isinstance(data, dict):
        return repr(data)
    (kind, content), *_ = data.items()
    match kind:
        case "node":
            return names[content]
        case "tuple" | "size":
            inner = ", ".join(constant(each, names) for each in content)
            return f"({inner},)" if len(content) == 1 else f"({inner})"
        case "list":
            return f"[{', '.join(constant(each, names) for each in content)}]"
        case "dict":
            return f"{{{', '.join(f'{constant(k, names)}: {constant(v, names)}' for k, v in content)}}}"
        case "named":
            return call(content[0], [constant(each, names) for each in content[2]])
        case "float":
            return f'float("{content}")'
        case "ellipsis":
            return "..."
        case "device":
            return f"torch.device({quoted(content)})"
        case "torch":
            return f"torch.{content}"
        case _:  # slice and complex, named after their types
            return call(kind, [constant(each, names) for each in content])


def quoted(words: str) -> str:
    """Return a literal in double quotes, where it needs none inside."""
    return f'"{words}"' if words.isprintable() and not set(words) & set('"\\') else repr(words)


def call(function: str, arguments: Sequence[str], *, indent: int = 8) -> str:
    """Return a call, on several lines if one would be too long for the ``indent`` it stands at."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) + indent <= _WIDTH or "\n" in line or not arguments:
        return line
    pad = " " * (indent + 4)
    return f"{function}(\n" + "".join(f"{pad}{each},\n" for each in arguments) + " " * indent + ")"


def arguments(node: Json, names: Mapping[str, str], *, skip: int = 0) -> list[str]:
    """Return a node's arguments behind the first ``skip``, as they stand in a call."""
    positional = [constant(each, names) for each in node["args"][skip:]]
    return positional + [f"{key}={constant(each, names)}" for key, each in node["kwargs"].items()]


def function_call(node: Json, names: Mapping[str, str]) -> str:
    """Return the call of a function, written as an operator or an index where Python has one."""
    prefix, _, name = node["target"].rpartition(".")
    operands = [constant(each, names) for each in node["args"]]
    if node["target"] == "builtins.getattr":
        return f"{operands[0]}.{node['args'][1]}"
    if prefix == "operator" and not node["kwargs"] and len(operands) >= 2:
        if name == "getitem":
            return f"{operands[0]}[{_index(node['args'][1], names)}]"
        if name == "setitem":
            return f"{operands[0]}[{_index(node['args'][1], names)}] = {operands[2]}"
        if name in _INFIX:
            left, right = (f"({each})" if each.startswith("-") else each for each in operands)
            return f"{left} {_INFIX[name]} {right}"
    shown = {"torch.nn.functional": f"F.{name}", "builtins": name}.get(prefix, node["target"])
    return call(shown, arguments(node, names))


def method_call(node: Json, names: Mapping[str, str]) -> str:
    """Return the call of a method."""
    owner = constant(node["args"][0], names)
    return call(f"{owner}.{node['target']}", arguments(node, names, skip=1))


def _index(data: Json, names: Mapping[str, str]) -> str:
    """Return what stands between the brackets."""
    if isinstance(data, dict) and data.get("tuple"):
        return ", ".join(_slice(each, names) for each in data["tuple"]) + ("," if len(data["tuple"]) == 1 else "")
    return _slice(data, names)


def _slice(data: Json, names: Mapping[str, str]) -> str:
    if isinstance(data, dict) and "slice" in data:
        start, stop, step = ("" if each is None else constant(each, names) for each in data["slice"])
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return constant(data, names)
