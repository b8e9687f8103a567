"""Thread-local variables: a pushed function reaches the firmware's, in every way that compilers ask for them."""

from __future__ import annotations

import pytest

from hotflash.elf.firmware import Firmware
from hotflash.errors import LinkError
from hotflash.link import reloc
from tests.link.device import Device
from tests.link.toolchain import HOT, Workshop, run

OTHER = "__thread int shared = 3; __thread char text[20]; void *__aeabi_read_tp(void) { return 0; }"
APP = """
extern __thread int shared; extern __thread char text[]; __thread int own = 7; static __thread int hidden[3];
int get(int i) { return shared + own + hidden[i] + text[2]; }
int start(void) { return get(1); }
"""
LOCAL = [*HOT, "-ftls-model=local-exec"]
SCRIPTED = ["-Wl,--no-warn-rwx-segments"]


@pytest.fixture(scope="module", params=[HOT, LOCAL], ids=["initial-exec", "local-exec"])
def flags(request: pytest.FixtureRequest) -> list[str]:
    found: list[str] = request.param
    return found


@pytest.fixture(scope="module")
def firmware(shop: Workshop, flags: list[str]) -> Firmware:
    return shop.firmware(shop.compile(APP, flags=flags), shop.compile(OTHER, "b.c"), flags=SCRIPTED)


def offsets(firmware: Firmware) -> dict[str, int]:
    """Offsets from the thread pointer, by binutils' reading of the symbol table."""
    table = run("arm-none-eabi-readelf", "-sW", firmware.path)
    lines = [line.split() for line in table.splitlines() if " TLS " in line]
    return {words[7]: int(words[1], 16) + 8 for words in lines}


def test_a_change_binds_to_the_firmwares_variables(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    obj = shop.compile(APP.replace("+ text[2]", "- text[3]"), flags=flags)
    kinds = {number for s in obj.sections if s.alloc for _, number, _, _ in obj.relocations(s.index)}
    assert (reloc.TLS_IE32 in kinds) == (flags is HOT)
    assert reloc.TLS_LE32 in kinds
    device = Device(firmware)
    device.push(obj)
    body = device.body("get")
    words = [int.from_bytes(body[at : at + 4], "little") for at in range(0, len(body) - 3, 2)]
    wanted = offsets(firmware)
    for name in ("shared", "own", "hidden", "text"):
        assert wanted[name] in words, name


def test_what_did_not_change_stays(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    plan, _ = Device(firmware).push(shop.compile("\n" + APP, flags=flags))
    assert plan.empty
    assert plan.unchanged == 2


def test_another_variable_is_a_change(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    plan, _ = Device(firmware).push(shop.compile(APP.replace("shared + own", "own + own"), flags=flags))
    assert [change.function for change in plan.changes] == ["get"]


def test_a_new_one_is_refused(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    obj = shop.compile("__thread int fresh;" + APP.replace("shared +", "fresh +"), flags=flags)
    with pytest.raises(LinkError, match="thread-local fresh, which the firmware does not have"):
        Device(firmware).push(obj)


def test_another_size_is_refused(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    obj = shop.compile(APP.replace("hidden[3]", "hidden[4]"), flags=flags)
    with pytest.raises(LinkError, match=r"hidden has 16 bytes in .*, but the live thread-local variable has 12"):
        Device(firmware).push(obj)


def test_declared_thread_local_on_one_side_only(shop: Workshop, firmware: Firmware, flags: list[str]) -> None:
    wrong = "extern __thread int __hf_header;\n" + APP.replace("shared +", "__hf_header +")
    with pytest.raises(LinkError, match="is not thread-local"):
        Device(firmware).push(shop.compile(wrong, flags=flags))
