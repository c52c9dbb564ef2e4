"""In which order messages go, where some of them cannot be sent at first, or ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.tracking import messages as module
from fmnist_sweep.tracking.messages import Kind, Message, Messages

PARENTS = {"p": None, "p/1": "p", "p/2": "p", "p/1/seed": "p/1"}


@pytest.fixture(autouse=True, scope="module")
def impatient() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_WAIT", 0.0)
        yield


def messages_of(said: list[tuple[str, str]]) -> tuple[Messages, list[Message]]:
    """`said`: after the starts, (kind and path, key)."""
    messages, all_of_them = Messages(), []
    for key, parent in PARENTS.items():
        messages.below(key, parent)
    for kind, key in [*(("start", key) for key in PARENTS), *said]:
        name, _, path = kind.partition(" ")
        of_no_run = name == "then"
        message = Message(Kind(name), None if of_no_run else key, lambda: None, path)
        messages.put(message)
        all_of_them.append(message)
    return messages, all_of_them


def sent_by(messages: Messages, vain: dict[Message, int], tries: int = 10_000) -> list[Message]:
    """What is sent, in its order, where the first `vain` tries of a message fail."""
    sent: list[Message] = []
    for _ in range(tries):
        message = messages.next()
        if message is None:
            break
        if vain.get(message, 0) > 0:
            vain[message] -= 1
            messages.failed("away", 0.0)
        else:
            sent.append(message)
            messages.sent()
    return sent


SAID = st.lists(
    st.tuples(
        st.sampled_from(["record", "file a", "file b", "end", "then"]), st.sampled_from([*PARENTS])
    ),
    max_size=20,
)


@given(SAID, st.lists(st.integers(0, 3), min_size=24, max_size=24))
def test_all_is_sent_and_what_depends_on_another_comes_after_it(
    said: list[tuple[str, str]], vain: list[int]
) -> None:
    messages, given_ones = messages_of(said)
    sent = sent_by(messages, dict(zip(given_ones, vain, strict=False)))
    assert sorted(sent, key=given_ones.index) == given_ones
    assert len(messages) == 0
    place = {message: number for number, message in enumerate(sent)}
    for number, later in enumerate(given_ones):
        for earlier in given_ones[:number]:
            if depends(later, earlier):
                assert place[earlier] < place[later], (earlier, later)


def depends(later: Message, earlier: Message) -> bool:
    if later.kind is Kind.THEN:
        return True
    line = [later.key]
    while line[-1] is not None:
        line.append(PARENTS[line[-1]])
    if earlier.kind is Kind.START and earlier.key in line:
        return True
    if later.kind is Kind.FILE or earlier.kind is Kind.FILE:
        return (later.kind, later.key, later.path) == (earlier.kind, earlier.key, earlier.path)
    if later.kind is Kind.END and earlier.key is not None:
        return earlier.key.startswith(str(later.key))
    return later.key == earlier.key


@given(SAID, st.sampled_from(range(4, 24)))
def test_what_can_never_be_sent_holds_up_only_what_depends_on_it(
    said: list[tuple[str, str]], never: int
) -> None:
    messages, given_ones = messages_of(said)
    if never >= len(given_ones):
        return
    culprit = given_ones[never]
    # One that is tried again and again: the others get their turns between.
    sent = sent_by(messages, {culprit: 10_000}, tries=500)
    held = [culprit]
    for message in given_ones[never + 1 :]:
        if any(depends(message, other) for other in held):
            held.append(message)
    assert {*sent} == {*given_ones} - {*held}
    assert len(messages) == len(held)
    assert messages.trouble == "away"


def test_what_is_given_up_are_the_records_of_that_run_and_its_end_stays() -> None:
    said = [("record", "p/1"), ("record", "p/1"), ("file a", "p/1"), ("end", "p/1"), ("end", "p")]
    messages, given_ones = messages_of(said)
    sent = sent_by(messages, {given_ones[4]: 10_000}, tries=500)
    assert messages.give_up() == given_ones[4:6]
    assert [*sent, *sent_by(messages, {})] == [*given_ones[:4], given_ones[6], *given_ones[7:]]


def test_of_a_run_that_cannot_be_started_all_is_given_up() -> None:
    said = [("record", "p/1/seed"), ("file a", "p/1"), ("end", "p/1"), ("record", "p/2")]
    messages, given_ones = messages_of(said)
    sent = sent_by(messages, {given_ones[1]: 10_000}, tries=500)
    assert sent == [given_ones[0], given_ones[2], given_ones[7]]
    dropped = messages.give_up()
    assert {*dropped} == {*given_ones} - {*sent}
    assert len(messages) == 0
