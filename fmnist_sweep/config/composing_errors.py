"""One-line messages for errors while a command line is composed.

The composer's messages have several lines and name its internals; these name what was typed. Errors
are recognised by their wording, which tests check against the real composer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fmnist_sweep.config.datafiles import DATA_GROUPS
from fmnist_sweep.config.fields import is_free_block
from fmnist_sweep.config.load import first_line
from fmnist_sweep.config.messages import did_you_mean, unknown_key

_LIST_NEEDS_M = "several values need -m (one run for each); write a list in brackets, as in '[1,2]'"


def missing_choice(choice: str, options: Sequence[str]) -> str:
    """Return the message for a group's file that does not exist, such as `model/nosuch`."""
    group, _, name = choice.rpartition("/")
    if not options:
        return f"{group}={name}: there is no file in experiments/{group}"
    there_are = f" (there are: {', '.join(options)})"
    advice = did_you_mean(name, options, of="there are")
    return f"{group}={name}: no such file{advice}{there_are if 'mean' in advice else ''}"


def bad_syntax(override: str, reason: str) -> str:
    """Return the message for an override that cannot be parsed."""
    if "=" not in override and not override.startswith("~"):
        return f"{override}: must be written key=value"
    why = re.sub(r"^\w+Exception: ", "", first_line(reason))
    told = "" if override in why else f": {why}"  # some reasons only repeat the override
    return f"{override}: cannot be read{told}; quote values that have special characters"


def refused(error: Exception, overrides: Sequence[str]) -> str:
    """Return the message for an override that does not fit the config.

    `overrides` are those of the command line, which contain the given value.
    """
    text = str(error)
    if found := re.match(r"Could not override '(.*?)'\. No match in the defaults list", text):
        return _not_chosen_by_default(found[1], overrides)
    if found := re.match(r"Could not override '(.+?)'", text):
        return _unknown(found[1], getattr(error.__cause__, "full_key", None), overrides)
    if found := re.match(r"Could not append to config\. An item is already at '(.+?)'", text):
        typed = _typed(found[1], overrides)
        return f"{typed}: the key already exists; write {typed.lstrip('+')}"
    if found := re.match(r"Could not delete (?:from config\. )?'(.+?)'", text):
        return f"~{found[1]}: nothing with that name to remove"
    if found := re.match(r"Ambiguous value for argument '(.+)'\n", text):
        return f"{found[1]}: {_LIST_NEEDS_M}"
    if found := re.match(r"Sweep parameters '(.+)' requires", text):
        return f"{found[1]}: {_LIST_NEEDS_M}"
    if found := re.match(r"Multiple values for (.+?)\.", text):
        plus = "+" if found[1] in DATA_GROUPS else ""
        return f"{found[1]}: chosen twice; write {plus}{found[1]}=NAME, once"
    if found := re.match(r"force-add of config groups is not supported: '\+(.+)'", text):
        return f"+{found[1]}: write {found[1]}"
    if found := re.match(r"Override (.+) looks like a config group override", text):
        return f"{found[1]}: no group has that name"
    if text.startswith("Config group override must be a string"):
        groups = [typed for typed in overrides if "." not in typed.partition("=")[0]]
        return f"{', '.join(groups)}: a group needs the name of a file, as in model=small_cnn"
    if found := re.match(r"Error merging override (.+)", text, re.DOTALL):
        cause = error.__cause__ or error.__context__
        return f"{found[1]}: {first_line(cause) if cause else 'does not fit'}"
    if not text and error.__cause__ is not None:
        return first_line(error.__cause__)
    return " ".join(text.split())


def _unknown(key: str, full_key: str | None, overrides: Sequence[str]) -> str:
    """Return the message for a missing key: `key` itself, or `full_key` in its value."""
    if "/" in key or "@" in key:
        return f"{_typed(key, overrides)}: no group has that name"
    path = key.split(".")
    typed = _typed(key, overrides)
    if is_free_block(path):
        return f"{typed}: does not exist yet; write +{typed} to add it"
    if path[0] == "hydra":
        return f"{typed}: Hydra has no such key; see --cfg hydra"
    if full_key and full_key.startswith(f"{key}."):
        return unknown_key(full_key.split("."), None)
    return unknown_key(path, typed.partition("=")[2])


def _not_chosen_by_default(group: str, overrides: Sequence[str]) -> str:
    typed = _typed(group, overrides)
    if not group:
        return f"{typed}: must be written key=value"
    if group in DATA_GROUPS:
        return f"{typed}: nothing to replace; write +{typed}"
    return f"{typed}: no group with that name is chosen by default"


def _typed(key: str, overrides: Sequence[str]) -> str:
    """Return the override of a key as it was typed; the last one counts."""
    for override in reversed(overrides):
        if override.partition("=")[0].lstrip("+~") == key:
            return override
    return key
