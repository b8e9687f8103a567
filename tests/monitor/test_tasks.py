"""Stacks that the application tells of: their dead parts hold nothing, their live parts hold what is called there."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from hotflash.wire import messages as m
from hotflash.wire.messages import CommitMode, Status

from . import invariants
from .board import Context, Field
from .client import Client, New

FUNCTION = New(bytes(range(100)), hook=3)
SIZE = 0x100
ADD, REMOVE = 4, 3


def word(client: Client, address: int, value: int) -> None:
    client.board.poke(address, struct.pack("<I", value))


def tell(client: Client, number: int, *, sp: int | None = None, told: bool = True) -> int:
    """Tells of the stack with that number, whose thread stands at ``sp`` (None: nobody knows); its lowest address."""
    base = client.board.map.ram_base
    struct_at, stack = base + 0x20 * number, base + 0x400 + SIZE * number
    kept = struct_at + 24
    word(client, kept, sp or 0)
    client.board.poke(struct_at, struct.pack("<IIIII", 0, stack, SIZE, 0 if sp is None else kept, 0))
    if told:
        client.board.register(struct_at, ADD)
    return stack


def alive(client: Client, grant: m.Grant) -> bool:
    block = invariants.check(client).get(grant.handle)
    return block is not None and block.data == FUNCTION.data


def age(client: Client) -> None:
    for i in range(3):
        client.push([replace(FUNCTION, data=bytes([i]) * 60)])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_only_the_live_part_of_a_told_stack_holds_slots(client: Client, number: int) -> None:
    base = client.board.map.ram_base
    stacks = [tell(client, n, sp=base + 0x400 + SIZE * n + 0x80) for n in range(3)]
    (grant,), _ = client.push([FUNCTION])
    dead, live = stacks[number] + 0x7C, stacks[number] + 0x80
    word(client, live, grant.address + 21)
    age(client)
    assert alive(client, grant)
    word(client, live, 0)
    word(client, dead, grant.address + 21)
    assert not alive(client, grant)


def test_a_stack_between_two_others_that_is_not_told_of_is_searched(client: Client) -> None:
    base = client.board.map.ram_base
    for n in (0, 2):
        tell(client, n, sp=base + 0x400 + SIZE * n + 0x80)
    (grant,), _ = client.push([FUNCTION])
    for place in (base + 0x400 + SIZE, base + 0x400 + 2 * SIZE - 4, base + 0x400 + 3 * SIZE, base + 0x3FC):
        word(client, place, grant.address + 21)
        age(client)
        assert alive(client, grant), hex(place)
        word(client, place, 0)
    assert not alive(client, grant)


def test_without_a_kept_stack_pointer_all_of_it_is_alive(client: Client) -> None:
    stack = tell(client, 0)
    (grant,), _ = client.push([FUNCTION])
    word(client, stack, grant.address + 21)
    age(client)
    assert alive(client, grant)


@pytest.mark.parametrize("kept", [0x10, SIZE - 4])
def test_a_running_task_is_where_the_core_says(client: Client, kept: int) -> None:
    """What the application keeps is of the last time that the task was switched away from."""
    base = client.board.map.ram_base
    stack = tell(client, 0, sp=base + 0x400 + kept)
    client.board.context(Context({"sp": stack + 0x80}, process=(stack + 0x80, base + 0x2000), on_process=True))
    (grant,), _ = client.push([FUNCTION])
    word(client, stack + 0x84, grant.address + 21)
    age(client)
    assert alive(client, grant)
    word(client, stack + 0x84, 0)
    word(client, stack + 0x7C, grant.address + 21)
    assert not alive(client, grant)


def test_a_task_that_is_taken_back_is_memory_like_any_other(client: Client) -> None:
    base = client.board.map.ram_base
    stack = tell(client, 0, sp=base + 0x400 + 0x80)
    (grant,), _ = client.push([FUNCTION])
    word(client, stack, grant.address + 21)
    client.board.register(base, REMOVE)
    age(client)
    assert alive(client, grant)


def busy(client: Client, code: int) -> bool:
    """Whether a safe commit of the function finds a frame of what runs at ``code`` now."""
    new = replace(FUNCTION, data=struct.pack("<I", code) * 20)
    transaction = client.transaction([new], generation=client.hello().generation, mode=CommitMode.SAFE)
    client.begin(transaction)
    status = client.finish(transaction).status
    assert status in (Status.OK, Status.E_FRAMES)
    client.do(m.AbortRequest())
    return status is Status.E_FRAMES


def test_safe_commits_see_the_calls_of_told_tasks(client: Client) -> None:
    base = client.board.map.ram_base
    stack = tell(client, 1, sp=base + 0x400 + SIZE + 0x40)
    (grant,), _ = client.push([FUNCTION])
    word(client, stack + 0x60, grant.address + 21)
    assert busy(client, 1)
    word(client, stack + 0x60, 0)
    word(client, stack + 0x20, grant.address + 21)  # dead
    assert not busy(client, 2)


def test_safe_commits_search_all_memory_where_there_are_threads_nobody_told_of(client: Client) -> None:
    where = client.board.map
    (grant,), _ = client.push([FUNCTION])
    word(client, where.ram_base + 0x100, grant.address + 21)
    client.board.set(Field.PROCESS_STACK, where.ram_base + 0x800)
    assert busy(client, 1)
    client.board.set(Field.PROCESS_STACK, 0)
    assert not busy(client, 2)


def test_lists_that_make_no_sense_end(client: Client) -> None:
    where = client.board.map
    for address in (0, 2, 0xFFFFFFFC, where.monitor_base, where.ram_base + where.ram_size - 4):
        client.board.register(address, ADD)
    stack = tell(client, 0, sp=where.ram_base + 0x480)
    at = where.ram_base
    for fields in ((0, stack, SIZE, 0, at), (0, stack, 0xFFFFFFFF, 0, at), (0, 3, 8, 5, 7), (0, stack, 0, 0, 1)):
        client.board.poke(at, struct.pack("<IIIII", *fields))
        (grant,), _ = client.push([FUNCTION])
        word(client, where.ram_base + 0x900, grant.address + 21)
        age(client)
        assert alive(client, grant)
        word(client, where.ram_base + 0x900, 0)


def test_the_stack_of_one_moment(client: Client) -> None:
    where = client.board.map
    sp, top = where.ram_base + 0x600, where.ram_base + where.ram_size
    client.board.poke(sp, bytes(range(256)))
    context = Context({"r4": 44, "sp": sp, "pc": 0x8123}, (top - 64, top), (sp, sp + 96), 0x2100000F, on_process=True)
    client.board.context(context)
    data = m.StackReply.unpack(client.do(m.StackRequest())).data
    words = struct.unpack_from("<20I", data)
    assert words[:16] == (0, 0, 0, 0, 44, *[0] * 8, sp, 0, 0x8123)
    assert words[16:] == (0x2100000F, 1, top - 64, sp)
    assert data[80:] == bytes(range(96))
