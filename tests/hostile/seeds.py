"""Well-formed files that hostile ones are made of."""

from __future__ import annotations

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from tests.link.kinds import every_kind
from tests.link.toolchain import CPU, HOT, SECTIONS, Workshop

APP = """
typedef unsigned char u8; typedef unsigned short u16; typedef enum { RED, GREEN = 5, BLUE = -3 } color;
struct node { int value; struct node *next; int (*call)(struct node *, u8); };
struct { u8 a : 3; u16 c : 9; color kind : 4; float f; double d; char name[8]; int m[2][3]; struct node inner;
         union { unsigned word; u8 bytes[4]; }; struct { short deep; color colors[2]; }; const char *text; } thing;
struct node first = { 1, &first, 0 }; int counter = 7; static volatile int hidden; long long big; _Bool flag;
extern int weak(int) __attribute__((weak)); int table(int); int common;
static const int squares[5] = { 0, 1, 4, 9, 16 };
__attribute__((noinline)) static int local(int x) { static int calls; calls += x; return hidden += calls; }
int other(int x) { static int calls; calls += x; return calls + squares[x & 3] + (weak ? weak(x) : 0); }
int work(int x) {
    switch (x) { case 0: return local(1); case 1: return other(2); case 2: return counter; case 3: return 9 * FACTOR;
                 case 4: return table(3); case 5: return thing.m[1][2]; default: break; }
    if (x > 100) { static u8 nested; nested++; thing.text = "some text"; return work(x - 1) + nested; }
    return first.value * FACTOR + common;
}
int table(int x) { static int (*const all[])(int) = { work, other, local }; return all[x & 1](x); }
int start(void) { flag = !flag; big++; thing.text = "other text"; return work(counter); }
"""
CXX = """
struct Base { virtual int run(int x) { return x + 1; } virtual ~Base(); int value; };
template<class T> T twice(T x) { static T last; last = x; return x + last; }
struct Derived : Base { int run(int x) override { return twice(x) + value; } };
Derived derived; extern "C" int counter; extern "C" int other(int x) { return twice(x) + derived.run(counter); }
"""
VARIABLES = ("thing", "thing.m[1]", "thing.kind", "first", "counter", "app.c:hidden", "local.calls", "other.calls",
             "work.nested", "big", "flag", "nothing", "squares")  # fmt: skip
SETTINGS = b"""port = "socket://localhost:4000"
baud = 115200
board = "mps2-an386"
board_path = ["boards", "../more"]
elf = "build/app.elf"
mode = "safe"
deadline = 2.5
connect_timeout = 1
toolchain = "arm-none-eabi-"
"""
JOURNAL = (
    b'{"version": 1, "live": [{"unit": "app.c", "object": "' + b"0a" * 32 + b'", "source": "build/app.o", '
    b'"generation": 1, "edits": [{"function": "work", "ident": 1, "hash": 2}]}], "previous": [], "lost": '
    b'[{"unit": "b.c", "object": "' + b"0b" * 32 + b'", "source": "b.o", "generation": 1, "edits": '
    b'[{"function": "f", "ident": 3, "hash": 4}, {"function": "g", "ident": 5, "hash": 6}]}], "pending": [], '
    b'"boot_count": 1, "generation": 1}'
)


def _flags(factor: int, *more: str) -> list[str]:
    return [*HOT, f"-DFACTOR={factor}", *more]


def firmware(shop: Workshop) -> Firmware:
    """A firmware with debug information, some of it of every kind."""
    return shop.firmware(shop.compile(APP, "app.c", _flags(1)))


def edited(shop: Workshop) -> ObjectFile:
    """An edit of one of its functions."""
    return shop.compile(APP, "app.c", _flags(3))


def objects(shop: Workshop) -> list[tuple[str, bytes]]:
    """Objects of compilers and assembler, small ones."""
    found = [("edited", edited(shop)), ("same", shop.compile(APP, "app.c", _flags(1)))]
    found.append(("-O0", shop.compile(APP, "app.c", _flags(3, "-O0", "-fcommon"))))
    found.append(("without -g", shop.compile(APP, "app.c", _flags(3, "-g0"))))
    cxx = [*HOT, "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
    found.append(("C++", shop.compile(CXX, "app.cc", cxx, "arm-none-eabi-g++")))
    found.append(("assembly", shop.assemble(every_kind("other", "work", "counter"), "app.S")))
    clang = ["--target=arm-none-eabi", *CPU, "-Os", "-g", "-ffreestanding", *SECTIONS, "-DFACTOR=3"]
    found.append(("clang", shop.compile(APP, "app.c", clang, "clang-19")))
    return [(name, obj.container.data) for name, obj in found]
