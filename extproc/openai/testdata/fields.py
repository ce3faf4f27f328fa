"""Prints every field of OpenAI's chat request, as the installed openai-python
declares them, one a line; with the path of fields.json, only what that file
lacks or has too much, and fails if there is anything.

Members of a union are told apart by their type or role, in brackets:
messages[user].content[image_url].image_url.detail.

    pip install openai && python fields.py fields.json
"""

import json
import sys
from typing import Union, get_args, get_origin, get_type_hints

from typing_extensions import Literal, NotRequired, Required, is_typeddict

from openai.types.chat import completion_create_params as params


def unwrap(hint):
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    return hint


def kind(typed):
    """What tells a member of a union from the others, or None."""
    hints = get_type_hints(typed, include_extras=True)
    for name in ("role", "type"):
        words = get_args(unwrap(hints[name])) if name in hints else ()
        if len(words) == 1:
            return words[0]
    return None


def walk(path, hint, found):
    hint = unwrap(hint)
    if is_typeddict(hint):
        for name, inner in get_type_hints(hint, include_extras=True).items():
            below = f"{path}.{name}" if path else name
            found.setdefault(below, None)
            walk(below, inner, found)
        return
    if get_origin(hint) is Literal or not get_args(hint):
        return
    if get_origin(hint) is dict or "Dict" in str(get_origin(hint)):
        return
    for inner in get_args(hint):
        inner = unwrap(inner)
        if inner is type(None):
            continue
        if is_typeddict(inner) and (word := kind(inner)):
            walk(f"{path}[{word}]", inner, found)
        else:
            walk(path, inner, found)


found = {}
for variant in get_args(params.CompletionCreateParams):
    walk("", variant, found)
names = sorted(found)
if len(sys.argv) == 1:
    print("\n".join(names))
    sys.exit()
ours = {name for group in json.load(open(sys.argv[1]))["openai"] for name in group["fields"]}
for name in sorted(set(names) - ours):
    print("missing:", name)
for name in sorted(ours - set(names)):
    print("not OpenAI's:", name)
sys.exit(set(names) != ours)
