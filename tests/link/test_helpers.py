"""Helpers from archives: found in the right one, shared, and never with a second copy of the firmware's state."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hotflash.elf.archive import Archive
from hotflash.elf.firmware import Firmware
from hotflash.errors import ElfError, LinkError, UsageError
from hotflash.link.helpers import choose
from hotflash.link.model import Helper
from hotflash.link.plan import Plan
from hotflash.toolchain import Archives, multilib_flags
from hotflash.wire.messages import SlotKind
from tests.link.device import Device
from tests.link.toolchain import HOT, PLAIN, SECTIONS, Workshop, run

APP = """
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <math.h>
volatile long long big = 7; char text[64]; volatile float real;
__attribute__((noipa)) long long scale(long long a, long long b) { return a + b; }
__attribute__((noipa)) long long other(long long a, long long b) { return a - b; }
int start(void) { return (int)(scale(big, 3) + other(big, 4)); }
"""
LIBRARY = """
static int state = 5; static int unused_by_others[2];
int next(void) { return ++state; }
int peek(void) { return state; }
int alone(void) { return ++unused_by_others[1]; }
"""
CORE = ["-mcpu=cortex-m4", "-mthumb"]
HOSTED = [flag for flag in HOT if flag != "-ffreestanding"]


@pytest.fixture(scope="module")
def firmware(shop: Workshop) -> Firmware:
    """An application that has no part of any library."""
    return shop.firmware(shop.compile(APP, flags=HOSTED))


def device(firmware: Firmware, *own: Path, libc: str = "auto") -> Device:
    made = Device(firmware)
    made.archives = Archives(libc=libc, own=own)
    return made


def push(target: Device, shop: Workshop, *edits: tuple[str, str], app: str = APP) -> Plan:
    for old, new in edits:
        assert app.count(old) == 1
        app = app.replace(old, new)
    return target.push(shop.compile(app, flags=HOSTED))[0]


def library(shop: Workshop, *sources: str, flags: list[str] | None = None) -> Path:
    objects = [shop.compile(s, f"part{n}.c", flags or [*PLAIN, *SECTIONS]).name for n, s in enumerate(sources)]
    target = shop.path(".a")
    run("arm-none-eabi-ar", "rcs", target, *objects)
    return target


def called(plan: Plan, state: str | None = None) -> dict[str, Helper]:
    return {h.name: h for h in plan.helpers if state in (None, h.state)}


# ------------------------------------------------------------------------------------------- finding


def test_a_division_brings_its_helper_and_what_that_needs(shop: Workshop, firmware: Firmware) -> None:
    made = push(device(firmware), shop, ("return a + b", "return a / b"))
    found = called(made)
    assert set(found) == {"__aeabi_ldivmod", "__udivmoddi4", "__aeabi_ldiv0"}
    assert found["__aeabi_ldivmod"].needed_by == "scale"
    assert found["__udivmoddi4"].needed_by == "__aeabi_ldivmod"
    assert {h.member.partition("(")[0] for h in found.values()} == {"libgcc.a"}
    assert {h.state for h in found.values()} == {"sent"}
    assert [c.function for c in made.changes] == ["scale"]
    assert made.pair_count == 1, "helpers take no hook"
    assert [r.ident for r in made.requests].count(0) == 3, "helpers are private slots"


def test_helpers_are_shared_within_a_push_and_with_later_ones(shop: Workshop, firmware: Firmware) -> None:
    board = device(firmware)
    both = push(board, shop, ("return a + b", "return a / b"), ("return a - b", "return a % b"))
    assert len(both.requests) == 2 + 3
    again = push(board, shop, ("return a + b", "return a / b"), ("return a - b", "return a % b"))
    assert again.empty
    assert not again.requests
    later = push(board, shop, ("return a + b", "return a / b + 1"), ("return a - b", "return a % b"))
    assert len(later.requests) == 1
    assert called(later) == called(later, "live")
    helper = next(s for s in board.slots if s.handle == later.requests[0].deps[0].ref // 2)
    assert helper.kind == SlotKind.CODE


def test_what_nothing_needs_is_not_sent(shop: Workshop, firmware: Firmware) -> None:
    made = push(device(firmware), shop, ("return a - b", "return a - b + 1"))
    assert not made.helpers


def test_a_call_reaches_the_helper_that_the_firmware_has(shop: Workshop) -> None:
    app = APP.replace("return a - b", "return a / b")
    board = device(shop.firmware(shop.compile(app, flags=HOSTED)))
    made = push(board, shop, ("return a + b", "return a / b"), app=app)
    assert not made.helpers
    assert len(made.requests) == 1


def test_what_the_firmware_has_of_a_member_is_not_copied(shop: Workshop) -> None:
    """A function of the same member that was linked, and a weak one that the application defines."""
    source = """
    __attribute__((noipa)) int lower(int x) { return x + 5; }
    __attribute__((noipa, weak)) int tuned(int x) { return x; }
    int upper(int x) { return lower(x) * tuned(x); }
    """
    lib = library(shop, source)
    given = "int lower(int), upper(int), tuned(int); __attribute__((noipa)) int tuned(int x) { return 9; } char text"
    app = APP.replace("char text", given)
    app = app.replace("return a - b", "return lower(a) + tuned(b)")
    firmware = shop.firmware(shop.compile(app, flags=HOSTED), libraries=["-Wl,--gc-sections", str(lib)])
    assert firmware.symbol("upper") is None
    made = push(device(firmware, lib), shop, ("return a + b", "return upper(a)"), app=app)
    assert set(called(made)) == {"upper"}
    assert len(made.requests) == 2

    fresh = app.replace(
        "lower(int), upper(int), tuned(int); __attribute__((noipa)) int tuned(int x) { return 9; }", "upper(int);"
    )
    fresh = fresh.replace("return lower(a) + tuned(b)", "return a - b")
    bare = shop.firmware(shop.compile(fresh, flags=HOSTED))
    made = device(bare, lib).push(
        shop.compile(fresh.replace("return a + b", "return upper(a)") + "int tuned(int x) { return 3; }", flags=HOSTED)
    )[0]
    assert set(called(made)) == {"upper", "lower"}, "a patch's own overrides a weak one as well"
    assert {c.function: c.action for c in made.changes} == {"scale": "replace", "tuned": "new"}


@pytest.mark.parametrize("cpu", [
    "-mcpu=cortex-m0", "-mcpu=cortex-m0plus", "-mcpu=cortex-m3", "-mcpu=cortex-m4",
    "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16", "-mcpu=cortex-m4 -mfloat-abi=softfp -mfpu=fpv4-sp-d16",
    "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16", "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-sp-d16",
    "-mcpu=cortex-m23", "-mcpu=cortex-m33 -mfloat-abi=hard", "-mcpu=cortex-m33+nodsp -mfloat-abi=soft",
    "-mcpu=cortex-m55 -mfloat-abi=hard",
])  # fmt: skip
def test_the_multilib_follows_from_the_build_attributes(shop: Workshop, cpu: str) -> None:
    flags = ["-mthumb", *cpu.split()]
    obj = shop.compile("float f(float a) { return a * 2; }", flags=[*flags, "-O1"])
    found = Archives(libc="newlib").libraries(obj.attributes)["newlib"]
    expected = [run("arm-none-eabi-gcc", *flags, f"-print-file-name={a.name}").strip() for a in found]
    assert [a.name for a in found] == ["libm.a", "libgcc.a", "libc.a"]
    assert [a.path.resolve() for a in found] == [Path(p).resolve() for p in expected]
    assert multilib_flags({}) == ()


def test_picolibc_is_told_by_its_functions(shop: Workshop) -> None:
    path = Archives(libc="picolibc").libraries(shop.compile(APP, flags=HOSTED).attributes)["picolibc"][-1].path
    symbols = "--defsym=__arm32_tls_tcb_offset=8,--defsym=__tls_base=0x20080000"
    flags = [f"-Wl,-u,strtok,{symbols}", str(path)]
    found, problem = choose(shop.firmware(shop.compile(APP, flags=HOSTED), flags=flags), Archives())
    assert problem is None
    assert found[-1].path == path
    assert "picolibc" in path.parts


def test_hard_float(shop: Workshop) -> None:
    hard = ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
    app = shop.compile(APP, flags=[*HOSTED, *hard])
    board = device(shop.firmware(app, cpu=[*CORE, *hard]))
    source = APP.replace("return a + b", "return (long long)(sinf(real) * fmod(real, 3.0))")
    made = board.push(shop.compile(source, flags=[*HOSTED, *hard]))[0]
    found = called(made)
    assert {"sinf", "fmod", "__aeabi_d2lz", "__aeabi_dmul"} <= set(found)
    assert "__aeabi_fmul" not in found, "there is an instruction for it"
    assert isinstance(board.archives, Archives)
    folders = {a.path.parent.parts[-2:] for a in board.archives.libraries(app.attributes)["nano"]}
    assert folders == {("v7e-m+fp", "hard")}
    soft = shop.compile(source, flags=HOSTED)
    with pytest.raises(ElfError, match="another floating-point ABI"):
        board.push(soft)


def test_an_archive_that_was_built_again_is_read_again(shop: Workshop, firmware: Firmware) -> None:
    lib = library(shop, "int magic(void) { return 1; }")
    board = device(firmware, lib)
    app = APP.replace("char text", "int magic(void), wand(void); char text")
    push(board, shop, ("return a + b", "return magic()"), app=app)
    lib.write_bytes(library(shop, "int magic(void) { return 1; } int wand(void) { return 2; }").read_bytes())
    assert set(called(push(board, shop, ("return a + b", "return wand()"), app=app))) == {"wand"}
    lib.unlink()
    with pytest.raises(UsageError, match="cannot read"):
        push(board, shop, ("return a + b", "return wand() + 1"), app=app)


@pytest.mark.parametrize(("libc", "archive"), [("nano", "c_nano"), ("newlib", "c")])
def test_the_c_library_is_the_firmwares(shop: Workshop, libc: str, archive: str) -> None:
    """``errno`` alone: the same code in both, and a state that has another size in each."""
    firmware = shop.firmware(shop.compile(APP, flags=HOSTED), flags=["-Wl,-u,__errno", f"-l{archive}"])
    found, problem = choose(firmware, Archives())
    assert problem is None
    assert [a.name for a in found][-1] == f"lib{archive}.a"
    wrong, problem = choose(firmware, Archives(libc="newlib" if libc == "nano" else "nano"))
    assert [a.name for a in wrong] == ["libgcc.a"]
    assert problem is not None
    assert "impure_data has" in problem.message


def test_a_foreign_c_library_gives_no_helpers(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile(APP, flags=HOSTED), flags=["-Wl,-u,__errno", "-lc"])
    board = device(firmware, libc="nano")
    with pytest.raises(LinkError, match="undefined symbol memmove") as caught:
        push(board, shop, ("return a + b", "memmove(text, text + a, b); return 1"))
    assert "none that the compiler has: impure_data has" in str(caught.value.hint)
    push(board, shop, ("return a + b", "return a / b"))  # libgcc has no state


def test_without_a_compiler_the_error_says_so(shop: Workshop, firmware: Firmware) -> None:
    board = Device(firmware)
    board.archives = Archives("no-such-prefix-")
    with pytest.raises(LinkError, match="undefined symbol __aeabi_ldivmod, needed by scale in ") as caught:
        push(board, shop, ("return a + b", "return a / b"))
    assert "no-such-prefix-gcc is not installed" in str(caught.value.hint)
    assert push(board, shop, ("return a + b", "return a + b + 1")).changes


# --------------------------------------------------------------------------------------------- state


def test_state_that_the_firmware_has_is_bound(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile(APP, flags=HOSTED), flags=["-Wl,-u,__errno", "-lc_nano"])
    board = device(firmware)
    made = push(board, shop, ("return a + b", "return strtol(text, 0, 0)"))
    assert SlotKind.VAR not in {r.kind & 0x7F for r in made.requests}
    assert called(made)["_impure_ptr"] == Helper("_impure_ptr", "", "variable", 0, "strtol", "firmware")
    symbol = firmware.symbol("_impure_ptr")
    assert symbol is not None
    assert struct.pack("<I", symbol.address) in bytes(board.memory.values())
    assert "__errno" not in called(made, "sent")


def test_state_that_the_firmware_lacks_is_new_and_stays(shop: Workshop, firmware: Firmware) -> None:
    board = device(firmware)
    made = push(board, shop, ("return a + b", "return strtol(text, 0, 0)"))
    new = [r for r in made.requests if r.kind & 0x7F == SlotKind.VAR]
    assert [r.length for r in new] == [called(made)["_impure_ptr"].size]
    slot = next(s for s in board.slots if s.kind == SlotKind.VAR)
    assert slot.address <= board.word(slot.address) < slot.address + slot.length, "_impure_ptr points to impure_data"
    later = push(board, shop, ("return a + b", "return strtol(text, 0, 0) + strtoul(text, 0, 0)"))
    assert not [r for r in later.requests if r.kind & 0x7F == SlotKind.VAR]
    assert called(later)["_impure_ptr"].state == "live"


def test_a_static_of_a_member_is_the_firmwares(shop: Workshop) -> None:
    lib = library(shop, LIBRARY)
    app = APP.replace("return a - b", "return next()").replace("char text", "int next(void), peek(void); char text")
    firmware = shop.firmware(shop.compile(app, flags=HOSTED), flags=["-Wl,--gc-sections,-u,next", str(lib)])
    assert firmware.symbol("next") is not None
    assert firmware.symbol("peek") is None
    board = device(firmware, lib)
    made = push(board, shop, ("return a + b", "return peek()"), app=app)
    assert set(called(made, "sent")) == {"peek"}
    state = firmware.symbol("state")
    assert state is not None
    assert struct.pack("<I", state.address) in bytes(board.memory.values())


def test_a_second_copy_of_nameless_state_is_refused(shop: Workshop) -> None:
    lib = library(shop, LIBRARY)
    app = APP.replace("return a - b", "return next()").replace("char text", "int next(void), peek(void); char text")
    app = app.replace("peek(void);", "peek(void), alone(void);")
    flags = ["-Wl,--gc-sections,-x,-u,next", str(lib)]
    board = device(shop.firmware(shop.compile(app, flags=HOSTED), flags=flags), lib)
    with pytest.raises(LinkError, match=r"part0.c.o\) cannot come along: the firmware's next uses the state in its "):
        push(board, shop, ("return a + b", "return peek()"), app=app)
    assert set(called(push(board, shop, ("return a + b", "return alone()"), app=app))) == {"alone", "unused_by_others"}


def test_state_that_the_firmware_has_in_part_is_refused(shop: Workshop) -> None:
    lib = library(shop, "int shared, more; int use(void) { return ++shared + ++more; }", flags=PLAIN)
    app = APP.replace("char text", "int use(void); int shared = 3; char text")
    app = app.replace("return a - b", "return shared")
    board = device(shop.firmware(shop.compile(app, flags=HOSTED)), lib)
    with pytest.raises(LinkError, match=r"has its state in part \(shared\), and not more"):
        push(board, shop, ("return a + b", "return use()"), app=app)


def test_state_of_another_size_is_refused(shop: Workshop) -> None:
    lib = library(shop, "int shared[4]; int use(int i) { return ++shared[i]; }")
    app = APP.replace("char text", "int use(int); int shared = 3; char text").replace("return a - b", "return shared")
    board = device(shop.firmware(shop.compile(app, flags=HOSTED)), lib)
    with pytest.raises(ElfError, match="it defines shared") as caught:
        push(board, shop, ("return a + b", "return use(1)"), app=app)
    assert "4" in caught.value.message
    assert "16" in caught.value.message


# ------------------------------------------------------------------------------------------- refusals


def test_a_member_that_defines_what_the_firmware_has_otherwise(shop: Workshop) -> None:
    """The firmware's own malloc beside the library's free: two heaps."""
    lib = library(shop, "static char *top; char *take(int n) { return top += n; } void give(char *p) { top = p; }")
    app = APP.replace("char text", "void give(char *); char *take(int n) { return (char *)n; } char text")
    app = app.replace("return a - b", "return (long)take(3)")
    board = device(shop.firmware(shop.compile(app, flags=HOSTED)), lib)
    with pytest.raises(ElfError, match="cannot come along: it defines take, and the firmware has another take"):
        push(board, shop, ("return a + b", "give(text); return 0"), app=app)


def test_a_member_with_constructors(shop: Workshop) -> None:
    lib = library(
        shop, "int n; __attribute__((constructor)) static void up(void) { n = 1; } int get(void) { return n; }"
    )
    app = APP.replace("char text", "int get(void); char text")
    board = device(shop.firmware(shop.compile(app, flags=HOSTED)), lib)
    with pytest.raises(ElfError, match=r"constructors \(.init_array\) would not run"):
        push(board, shop, ("return a + b", "return get()"), app=app)


def test_what_the_library_leaves_to_the_program(shop: Workshop, firmware: Firmware) -> None:
    board = device(firmware)
    with pytest.raises(LinkError, match=r"undefined symbol _sbrk, needed by _sbrk_r in libc_nano\.a") as caught:
        push(board, shop, ("return a + b", 'return snprintf(text, 64, "%d", (int)a)'))
    assert "scale -> snprintf -> " in caught.value.message
    assert "_malloc_r -> _sbrk_r" in caught.value.message
    assert "define it in the application" in str(caught.value.hint)
    patch = APP.replace("return a + b", 'return snprintf(text, 64, "%d", (int)a)')
    given = patch + "void *_sbrk(int n) { static char heap[1024]; static int used; used += n; return heap + used - n; }"
    made = board.push(shop.compile(given, flags=HOSTED))[0]
    assert {"snprintf", "_malloc_r", "_sbrk_r", "_impure_ptr"} <= set(called(made, "sent"))
    assert {c.function: c.action for c in made.changes} == {"scale": "replace", "_sbrk": "new"}


def test_a_weak_reference_extracts_nothing(shop: Workshop, firmware: Firmware) -> None:
    edit = ("return a + b", "extern int abs(int) __attribute__((weak)); return abs ? 1 : 2")
    made = push(device(firmware), shop, edit)
    assert not made.helpers


def test_a_projects_own_archive_comes_first(shop: Workshop, firmware: Firmware) -> None:
    lib = library(shop, "#include <string.h>\nvoid *memmove(void *a, const void *b, size_t n) { return a; }")
    made = push(device(firmware, lib), shop, ("return a + b", "memmove(text, text + a, b); return 1"))
    assert called(made)["memmove"].member == f"{lib.name}(part0.c.o)"
    assert Archive.open(lib).defining("memmove") is not None


def test_an_archive_for_another_core(shop: Workshop, firmware: Firmware) -> None:
    lib = library(shop, "int far(void) { return 1; }", flags=["-mcpu=cortex-m33", "-mthumb", "-O1"])
    app = APP.replace("char text", "int far(void); char text")
    with pytest.raises(ElfError, match=r"part0.c.o\): is compiled for Armv8-M.mainline|part0.c.o\): is compiled for"):
        push(device(firmware, lib), shop, ("return a + b", "return far()"), app=app)
