"""Frames: a slot lives as long as a word may point into it; a safe commit waits for the functions it replaces."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import invariants
from .board import REGS, Context, Field
from .client import Client, New

FUNCTION = New(bytes(range(100)), hook=3)


def _alive(client: Client, grant: m.Grant) -> bool:
    """Whether the function's first version is still there: its block may have been given to another."""
    block = invariants.check(client).get(grant.handle)
    return block is not None and block.data == FUNCTION.data


def _age(client: Client) -> None:
    """Pushes until neither hook nor undo record holds the first version."""
    for i in range(3):
        client.push([replace(FUNCTION, data=bytes([i]) * 60)])


def _word(client: Client, address: int, value: int) -> None:
    client.board.poke(address, struct.pack("<I", value))


@pytest.mark.parametrize("register", REGS)
def test_a_register_holds_a_slot(client: Client, register: str) -> None:
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({register: grant.address + 20}))
    _age(client)
    slots = {slot.handle: slot for slot in client.slots()}
    assert grant.handle in slots
    assert slots[grant.handle].flags & m.SlotFlag.FRAME
    assert not slots[grant.handle].flags & m.SlotFlag.BOUND
    client.board.context(Context())
    assert not _alive(client, grant)


@pytest.mark.parametrize("offset", [0, 1, 40, 99, 100])
@pytest.mark.parametrize("place", ["main", "process", "elsewhere"])
def test_a_word_in_ram_holds_a_slot(client: Client, place: str, offset: int) -> None:
    """Stacks, jmp_bufs, and stacks of an RTOS that the monitor was not told of. Offset 100 is the return address of
    a call that is the body's last instruction."""
    where = client.board.map
    top = where.ram_base + where.ram_size
    main, process = (top - 256, top), (where.ram_base + 0x800, where.ram_base + 0xA00)
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"sp": main[0]}, main, process))
    address = {"main": main[1] - 4, "process": process[0], "elsewhere": where.ram_base + 4}[place]
    _word(client, address, grant.address + offset)
    _age(client)
    assert _alive(client, grant)
    _word(client, address, 0)
    assert not _alive(client, grant)


def test_dead_stack_is_no_frame(client: Client) -> None:
    """What lies below a known stack's pointer was left by calls that have returned; RAM that is nobody's stack is
    scanned, so the dead part counts conservatively there and may keep the slot, but never a live one frees."""
    where = client.board.map
    top = where.ram_base + where.ram_size
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"sp": top - 64}, (top - 64, top)))
    _word(client, top - 64, grant.address + 8)
    _age(client)
    assert _alive(client, grant)


def test_pointers_before_and_behind_a_slot_hold_nothing(client: Client) -> None:
    where = client.board.map
    (grant,), _ = client.push([FUNCTION])
    _word(client, where.ram_base + 8, grant.address - 36)
    _word(client, where.ram_base + 12, where.heap_base + where.heap_size)
    _word(client, where.ram_base + 16, where.heap_base - 4)
    _age(client)
    assert not _alive(client, grant)


def test_a_frame_holds_what_the_slot_uses(client: Client) -> None:
    (grant, constant), _ = client.push([replace(FUNCTION, deps=(2,)), New(b"text", m.SlotKind.CONST)])
    client.board.context(Context({"pc": grant.address + 4}))
    _age(client)
    client.do(m.GcRequest())
    slots = invariants.check(client)
    assert {grant.handle, constant.handle} <= slots.keys()
    client.board.context(Context())
    client.slots()
    client.do(m.GcRequest())
    assert not _alive(client, grant)
    assert constant.handle not in invariants.check(client)


def test_many_pushes_while_a_frame_stays(client: Client) -> None:
    (first,), _ = client.push([FUNCTION])
    client.board.context(Context({"lr": first.address + 31}))
    for i in range(200):
        client.push([replace(FUNCTION, data=bytes([i]) * 100)])
    slots = invariants.check(client)
    assert first.handle in slots
    assert slots[first.handle].data == FUNCTION.data
    assert len(slots) <= 1 + 3


# ---------------------------------------------------------------------------------------- told stacks


class Task:
    """A told stack of 256 bytes at the start of the application's RAM, and where its stack pointer is kept."""

    def __init__(self, client: Client, number: int = 0) -> None:
        self.client = client
        self.struct = client.board.map.ram_base + 32 * number
        self.low = client.board.map.ram_base + 0x400 + 0x200 * number
        self.high = self.low + 256
        self.kept = self.struct + 24
        client.board.poke(self.struct, struct.pack("<5I", 0, self.low, 256, self.kept, 0))
        self.stands(self.low)
        client.board.register(self.struct, 4)

    def stands(self, sp: int) -> None:
        """Where it was when it was put aside."""
        _word(self.client, self.kept, sp)


def test_what_lies_below_a_told_stack_pointer_is_dead(client: Client) -> None:
    (grant,), _ = client.push([FUNCTION])
    task = Task(client)
    task.stands(task.high - 64)
    _word(client, task.high - 64, grant.address + 9)
    _age(client)
    assert _alive(client, grant)
    task.stands(task.high - 60)
    assert not _alive(client, grant)


def test_a_running_task_stands_where_the_core_says(client: Client) -> None:
    (grant,), _ = client.push([FUNCTION])
    task = Task(client)
    task.stands(task.low)
    _word(client, task.high - 64, grant.address + 9)
    client.board.context(Context({"sp": task.high - 60}, process=(task.high - 60, task.high), on_process=True))
    _age(client)
    assert not _alive(client, grant)


def test_what_a_switch_has_saved_below_the_process_stack_pointer(client: Client) -> None:
    """The main stack's thread runs; the process stack pointer is still that of the task that was put aside, whose
    registers r4 to r11 the switch has stored below."""
    (grant,), _ = client.push([FUNCTION])
    task = Task(client)
    task.stands(task.high - 64)
    _word(client, task.high - 60, grant.address + 9)
    client.board.context(Context(process=(task.high - 32, task.high)))
    _age(client)
    assert _alive(client, grant)


@pytest.mark.parametrize("what", [1, 4])
def test_a_struct_in_flash_is_not_taken(client: Client, what: int) -> None:
    """Its link would be written there."""
    client.board.register(client.board.map.flash_base + 1024, what)
    client.push([FUNCTION])
    invariants.check(client)


@pytest.mark.parametrize("running", [True, False])
def test_a_task_that_has_gone_to_a_stack_of_its_own(client: Client, running: bool) -> None:
    """A coroutine: the task's stack pointer is elsewhere, and what it kept before says nothing."""
    elsewhere = client.board.map.ram_base + 0x2000
    (grant,), _ = client.push([FUNCTION])
    task = Task(client)
    other = Task(client, 1)
    other.stands(other.high)
    task.stands(task.high if running else elsewhere)
    _word(client, task.high - 64, grant.address + 9)
    if running:
        client.board.context(Context({"sp": elsewhere}, process=(elsewhere, elsewhere + 64), on_process=True))
    _age(client)
    assert _alive(client, grant)
    # A safe commit looks for the coroutine's own frames, too.
    _word(client, task.high - 64, 0)
    (second,), _ = client.push([FUNCTION])
    _word(client, elsewhere + 128, second.address + 9)
    assert _try(client)[0] is m.Status.E_FRAMES


def test_a_number_in_a_word_is_no_reference(client: Client) -> None:
    """A commit swaps a data word; what was in it looks like an address where a slot comes later."""
    where = client.board.map
    (grant,), _ = client.push([FUNCTION])
    _word(client, where.ram_base + 64, grant.address + 0x400)
    client.push([replace(FUNCTION, data=bytes(40))], words=(m.Word(where.ram_base + 64, 5),))
    _word(client, where.ram_base + 64, 5)
    client.push([replace(FUNCTION, data=bytes([1]) * 0x600)], flags=0)
    assert client.status().drift == 0
    invariants.check(client)


def test_a_word_of_the_undo_record_holds_code(client: Client) -> None:
    """Label addresses that leave a function (``&&label`` in data) come back with a rollback."""
    where = client.board.map
    (grant,), _ = client.push([FUNCTION])
    client.push([replace(FUNCTION, data=bytes(40))])
    word = where.ram_base + 64
    _word(client, word, grant.address + 20)
    generation = client.hello().generation
    client.push([], words=(m.Word(word, 0),), generation=generation)
    assert client.board.words(word, 1) == (0,)
    assert _alive(client, grant)
    client.do(m.RollbackRequest(generation + 1, 0))
    assert client.board.words(word, 1) == (grant.address + 20,)
    assert _alive(client, grant)


# ------------------------------------------------------------------------------------------- safe


def _try(client: Client, transaction_ranges: tuple[m.Range, ...] = (), hook: int = 3) -> tuple[m.Status, m.CommitReply]:
    generation = client.hello().generation
    transaction = client.transaction(
        [New(b"\x77" * 64, hook=hook), New(b"\x78" * 64, hook=10)],
        generation=generation,
        mode=m.CommitMode.SAFE,
        ranges=transaction_ranges,
    )
    client.begin(transaction)
    reply = client.finish(transaction)
    commit = transaction.commit
    if reply.status is m.Status.E_FRAMES:
        # The transaction is still open: when the frames are gone, the same commit is taken.
        client.board.context(Context())
        client.board.poke(client.board.map.ram_base, bytes(client.board.map.ram_size))
        again = client.ask(commit)
        assert again.status is m.Status.OK
        assert client.hello().generation == generation + 1
        invariants.check(client)
    return reply.status, m.CommitReply.unpack(Reader(reply.body))


@pytest.mark.parametrize("register", ["pc", "lr"])
def test_a_safe_commit_names_the_register(client: Client, register: str) -> None:
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({register: grant.address + 21}))
    table = client.table()
    status, reply = _try(client)
    assert status is m.Status.E_FRAMES
    assert client.table() != table  # taken at the second try
    assert len(reply.frames) == 1
    assert reply.frames[0].where == REGS.index(register)
    assert grant.address <= reply.frames[0].address < grant.address + 100


def test_a_safe_commit_names_stack_words(client: Client) -> None:
    where = client.board.map
    top = where.ram_base + where.ram_size
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"sp": top - 128}, (top - 128, top)))
    for offset in (8, 64):
        _word(client, top - offset, grant.address + 31)
    status, reply = _try(client)
    assert status is m.Status.E_FRAMES
    assert {frame.where for frame in reply.frames} == {top - 8, top - 64}


@pytest.mark.parametrize("place", ["main", "a stack that nobody told of"])
def test_a_safe_commit_sees_where_threads_were_put_aside(client: Client, place: str) -> None:
    """The program counter that an exception has stacked has no Thumb bit; it may be all that names the function."""
    where = client.board.map
    top = where.ram_base + where.ram_size
    (grant,), _ = client.push([FUNCTION])
    client.board.set(Field.PROCESS_STACK, int(place != "main"))
    client.board.context(Context({"sp": top - 128}, (top - 128, top)))
    at = top - 96 if place == "main" else where.ram_base + 0x200
    frame = struct.pack("<8I", 0, 0, 0, 0, 0, 0x10008001, grant.address + 20, 0x61000000)
    client.board.poke(at, frame)
    status, reply = _try(client)
    assert status is m.Status.E_FRAMES
    assert [(found.address, found.where) for found in reply.frames] == [(grant.address + 20, at + 24)]


def test_numbers_that_look_like_code_are_no_frames(client: Client) -> None:
    where = client.board.map
    top = where.ram_base + where.ram_size
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"sp": top - 128}, (top - 128, top)))
    client.board.poke(top - 64, struct.pack("<4I", grant.address + 20, 7, grant.address + 20, 0xA1F00000))
    _word(client, top - 4, grant.address + 20)
    assert _try(client)[0] is m.Status.OK


def test_at_most_eight_frames_are_named(client: Client) -> None:
    where = client.board.map
    top = where.ram_base + where.ram_size
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"sp": top - 128}, (top - 128, top)))
    for offset in range(4, 128, 4):
        _word(client, top - offset, grant.address + 31)
    status, reply = _try(client)
    assert status is m.Status.E_FRAMES
    assert len(reply.frames) == 8


def test_frames_in_the_base_image(client: Client) -> None:
    assert client.app is not None
    address, length = client.app.body(3)
    client.board.context(Context({"lr": address + 13}))
    assert _try(client, (m.Range(address, length),))[0] is m.Status.E_FRAMES


def test_a_return_address_behind_the_last_call(client: Client) -> None:
    """A call of a noreturn function may be a body's last instruction: the address behind it belongs to that body, and
    the first address of a body belongs to what lies before."""
    assert client.app is not None
    address, length = client.app.body(3)
    client.board.context(Context({"lr": address + length + 1}))
    assert _try(client, (m.Range(address, length),))[0] is m.Status.E_FRAMES
    client.board.context(Context({"lr": address + 1}))
    assert _try(client, (m.Range(address, length),))[0] is m.Status.OK


def test_frames_of_other_functions_do_not_matter(client: Client) -> None:
    where = client.board.map
    assert client.app is not None
    top = where.ram_base + where.ram_size
    address, length = client.app.body(3)
    other, _ = client.app.body(4)
    (grant,), _ = client.push([New(bytes(100), hook=5)])
    client.board.context(Context({"pc": other + 4, "lr": grant.address + 21, "sp": top - 64}, (top - 64, top)))
    _word(client, top - 8, other + 9)
    assert _try(client, (m.Range(address, length),))[0] is m.Status.OK


def test_an_older_version_that_still_runs_is_in_the_way(client: Client) -> None:
    """The function's first version has a frame, the second is bound: replacing it safely waits for both."""
    (first,), _ = client.push([FUNCTION])
    client.board.context(Context({"lr": first.address + 21}))
    client.push([replace(FUNCTION, data=bytes(80))])
    status, reply = _try(client)
    assert status is m.Status.E_FRAMES
    assert reply.frames[0].address - first.address in (18, 19, 20, 21)


def test_now_does_not_ask_for_frames(client: Client) -> None:
    (grant,), _ = client.push([FUNCTION])
    client.board.context(Context({"pc": grant.address + 20}))
    _, reply = client.push([replace(FUNCTION, data=bytes(50))], mode=m.CommitMode.NOW)
    assert reply.generation == 2
