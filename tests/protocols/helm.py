"""Renders the templates of a Helm chart: the subset of the language that our chart uses. Anything else is an error."""

import re

import yaml

TOKEN = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


def render(template, context):
    """Renders a template with a context of ``Values``, ``Release`` and ``Chart``."""
    # As Helm does: a dash removes white space on its side, line breaks included.
    template = re.sub(r"\s*\{\{-", "{{", template)
    template = re.sub(r"-\}\}\s*", "}}", template)
    pieces = TOKEN.split(template)
    nodes, rest = parse(pieces, 0)
    assert rest == len(pieces), "an end without a beginning"
    return "".join(evaluate(nodes, {".": context, "$": context}))


def parse(pieces, at, inside=False):
    """Parses nodes up to ``end`` or ``else``. Text is at even indexes, code at odd ones."""
    nodes = []
    while at < len(pieces):
        if at % 2 == 0:
            nodes.append(("text", pieces[at]))
            at += 1
            continue
        code = pieces[at]
        word = code.split(" ")[0]
        if word in ("end", "else"):
            assert inside, code
            return nodes, at
        at += 1
        if word in ("if", "range"):
            body, at = parse(pieces, at, inside=True)
            other = []
            if pieces[at] == "else":
                other, at = parse(pieces, at + 1, inside=True)
            assert pieces[at] == "end", pieces[at]
            at += 1
            nodes.append((word, code[len(word) :].strip(), body, other))
        else:
            nodes.append(("print", code))
    assert not inside, "a block without an end"
    return nodes, at


def evaluate(nodes, scope):
    for kind, *given in nodes:
        if kind == "text":
            yield given[0]
        elif kind == "print":
            yield text_of(value_of(given[0], scope))
        elif kind == "if":
            condition, body, other = given
            yield from evaluate(body if value_of(condition, scope) else other, scope)
        else:
            names, _, expression = given[0].rpartition(":=")
            items = value_of(expression.strip(), scope)
            pairs = sorted(items.items()) if isinstance(items, dict) else list(enumerate(items))
            for key, value in pairs:
                inner = {**scope, ".": value}
                if names:
                    first, second = (name.strip() for name in names.split(","))
                    inner |= {first: key, second: value}
                yield from evaluate(given[1], inner)


def value_of(expression, scope):
    first, *filters = (part.strip() for part in expression.split("|"))
    value = call(first, scope)
    for one in filters:
        value = call(one, scope, value)
    return value


def call(expression, scope, *piped):
    name, *given = expression.split()
    arguments = [resolve(one, scope) for one in given] + list(piped)
    match name:
        case "quote":
            return '"' + text_of(arguments[0]).replace("\\", "\\\\").replace('"', '\\"') + '"'
        case "default":
            return arguments[1] or arguments[0]
        case "toYaml":
            return yaml.safe_dump(arguments[0], default_flow_style=False).rstrip("\n")
        case "nindent":
            return "".join("\n" + " " * int(arguments[0]) + line for line in arguments[1].split("\n"))
    assert not arguments, f"unknown function: {expression}"
    return resolve(name, scope)


def resolve(name, scope):
    if name.isdigit():
        return int(name)
    if name in scope:
        return scope[name]
    root, _, path = name.partition(".")
    value = scope["." if root == "" else root]
    for key in path.split("."):
        assert key in value, f"there is no {name}"
        value = value[key]
    return value


def text_of(value):
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
