"""The table of changes: what is edited, which units are pushed, and what has to be said about it."""

from __future__ import annotations

from typing import NamedTuple

from tests.types.project import Edit

HEADER = """
struct live { int speed; short count; unsigned char mode; float gain; };
struct shared { int a; int b; };
struct local { int x; int y; };
struct inner { short p; short q; };
struct outer { char tag; struct inner in[2]; int tail; };
struct bits { unsigned on : 1; unsigned mode : 3; int level : 5; };
union word { int i; float f; unsigned char b[4]; };
struct node { struct node *next; int value; };
typedef struct { int left; int right; } pair_t;
enum level { LOW, MID = 3, HIGH };
struct packed { char c; int i; } __attribute__((packed));
struct aligned { int a; } __attribute__((aligned(8)));
typedef int (*callback_t)(int);
struct ops { callback_t read; int (*write)(const char *, int); };
struct made { int a; int b; };
struct opaque;
struct loop_b;
struct loop_a { struct loop_b *b; int n; };
struct loop_b { struct loop_a *a; int n; };
struct frame { int a; int b; };
typedef unsigned short ticks_t;
typedef int row_t[3];
typedef struct { union { int whole; short half[2]; }; struct { char c; }; } mixed_t;
int f_shared(struct shared *s);
int f_loop(struct loop_a *a);
int step(int a);
int taken(int a);
int talk(const char *format, ...);
pair_t make(int a, int b);
int sum(pair_t p);
float scale(float x);
int opaque_user(struct opaque *o);
int frame_user(struct frame *f);
void *malloc(__SIZE_TYPE__ size);
"""

CORE = """
#include "types.h"
struct live state = {1, 2, 3, 4.0f};
static struct outer outers[3];
struct bits flags;
union word word;
struct node head;
struct packed pack;
struct aligned line;
enum level last;
struct ops ops;
mixed_t mixed;
int counter; static short small = 4; row_t row; const int *pointer; double precise; unsigned char bytes[4];
static const struct live presets[2] = {{1, 1, 1, 1.0f}, {2, 2, 2, 2.0f}};
struct opaque { int secret; };
int f_live(int x) { state.speed += x; state.count++; return state.speed; }
int f_outer(int i) { outers[i].tail++; return outers[i].in[1].q; }
int f_bits(int x) { flags.mode = (unsigned)x; return flags.level; }
int f_union(int x) { word.i = x; return word.b[1]; }
int f_node(int x) { head.value += x; return head.next ? head.next->value : 0; }
int f_packed(int x) { pack.i += x; return pack.c; }
int f_aligned(int x) { line.a += x; return line.a; }
int f_enum(int x) { last = x ? HIGH : LOW; return (int)last; }
int f_ops(int x) { return ops.read ? ops.read(x) : 0; }
int f_mixed(int x) { mixed.whole = x; return mixed.half[1] + mixed.c; }
int f_counter(int x) { counter += x; small++; row[1] += small; return *pointer + bytes[1]; }
double f_precise(double x) { precise += x; return precise; }
int f_preset(int i) { return presets[i & 1].speed; }
int f_static(int x) { static int calls; static short kept; calls += x; kept++; return calls + kept; }
double f_helpers(double x, float y) { counter++; return x * y - (float)x; }
int f_local(int x) { volatile struct local l = {x, x}; return l.x + l.y; }
int f_level(int x) { volatile enum level l = x ? MID : LOW; return (int)l; }
int f_ticks(int x) { volatile ticks_t t = (ticks_t)x; return t; }
__attribute__((noinline)) int f_made(int x) { struct made *m = malloc(sizeof *m); m->a = x; return m->a + m->b; }
int f_shared(struct shared *s) { return s->a + s->b; }
int f_loop(struct loop_a *a) { return a->n + (a->b ? a->b->n : 0); }
int opaque_user(struct opaque *o) { return o->secret; }
__attribute__((noinline)) int frame_user(struct frame *f) { return f->a - f->b; }
__attribute__((noinline)) void frame_fill(struct frame *f, int x) { f->a = x; f->b = 2; }
int frame_holder(int x) { struct frame f; frame_fill(&f, x); return frame_user(&f); }
int frame_owner(int x) { struct frame f = {x, 2}; return frame_user(&f); }
__attribute__((noinline)) static int inside(int a) { counter += a; return counter; }
int outside(int a) { return inside(a) + 1; }
int quiet(int a) { return a * 2 + counter; }
int step(int a) { counter += a; return counter * 3; }
int taken(int a) { counter -= a; return counter * 5; }
int talk(const char *format, ...) { counter += *format; return counter; }
pair_t make(int a, int b) { pair_t p = {a, b}; counter++; return p; }
int sum(pair_t p) { counter++; return p.left + p.right; }
float scale(float x) { counter++; return x * 2.0f; }
int start(void) { return f_live(1) + f_outer(1) + f_bits(1) + f_union(1) + f_node(1) + f_packed(1) + f_aligned(1)
  + f_enum(1) + f_ops(1) + f_mixed(1) + f_counter(1) + (int)f_precise(1) + f_preset(1) + f_static(1) + f_local(1)
  + f_level(1) + f_ticks(1) + f_made(1) + outside(1) + quiet(1) + frame_owner(1)
  + frame_holder(1); }
"""

USER = """
#include "types.h"
struct shared theirs;
struct loop_b far;
struct loop_a near = {&far, 1};
struct private { int here; };
static struct private mine;
int (*volatile kept)(int) = taken;
int u_shared(void) { return f_shared(&theirs) + theirs.a; }
int u_loop(void) { return f_loop(&near); }
int u_step(void) { return step(3); }
int u_talk(void) { return talk("x", 1, 2); }
int u_pair(void) { pair_t p = make(1, 2); return sum(p); }
float u_scale(void) { return scale(1.5f); }
int u_opaque(struct opaque *o) { return opaque_user(o); }
int u_private(void) { mine.here++; return mine.here; }
int u_all(void) { return u_shared() + u_step() + u_talk() + u_pair() + (int)u_scale() + u_private() + kept(1)
  + u_loop() + u_opaque(0); }
"""

HEAP = """
#include "types.h"
static char pool[256]; static unsigned used;
extern int u_all(void);
void *malloc(__SIZE_TYPE__ size) { used += size; return pool + used + (u_all() & 0); }
"""

FILES = {"types.h": HEADER, "core.c": CORE, "user.c": USER, "heap.c": HEAP}


class Case(NamedTuple):
    """One change."""

    name: str
    edits: list[Edit]
    push: str
    """Units that are pushed, ``core user``."""
    verdict: str
    """``ok``, ``safe`` (accepted, committed safe), ``left`` (refused: users are left behind), ``unseen`` (refused:
    instances that nothing shows), ``migrate`` (refused until values are converted) or ``lossy`` (even then)."""
    says: str = ""
    """What the refusal has to name."""
    declared: bool = False
    """It shows in a declaration alone, which clang describes at some levels only."""


def _h(old: str, new: str) -> Edit:
    return "types.h", old, new


def _c(old: str, new: str) -> Edit:
    return "core.c", old, new


def _u(old: str, new: str) -> Edit:
    return "user.c", old, new


LIVE = "{ int speed; short count; unsigned char mode; float gain; }"
BUMP = _c("state.count++;", "state.count += 2;")
LOCAL = _c("return l.x + l.y;", "return l.x - l.y;")
STEP = [_h("int step(int a);", "int step(int a, int b);"), _c("step(int a)", "step(int a, int b)")]
PAIR = _h("{ int left; int right; }", "{ int right; int left; }")
SHARED = _h("{ int a; int b; };\nstruct local", "{ int b; int a; };\nstruct local")

CASES = [
    # What has nothing to do with types.
    Case("code alone", [BUMP], "core", "ok"),
    Case("a parameter's name", [_c("quiet(int a) { return a * 2", "quiet(int b) { return b * 3")], "core", "ok"),
    Case("a typedef in between", [_h("struct local {", "typedef int word_t;\nstruct local {"),
                                  _h("int x; int y;", "word_t x; word_t y;"), LOCAL], "core", "ok"),
    Case("const and volatile", [_h("struct local { int x; int y;", "struct local { const int x; volatile int y;"),
                                LOCAL], "core", "ok"),
    Case("a pointer to const", [_c("frame_user(struct frame *f)", "frame_user(const struct frame *f)"),
                                _h("frame_user(struct frame *f)", "frame_user(const struct frame *f)"),
                                _c("f->a - f->b", "f->a + f->b")], "core", "ok"),
    Case("long is as int", [_h("int x; int y;", "long x; long y;"), LOCAL], "core", "ok"),
    Case("declarations in another order", [_h("struct local { int x; int y; };\n", ""),
                                           _h("struct frame {", "struct local { int x; int y; };\nstruct frame {"),
                                           LOCAL],
         "core", "ok"),
    Case("fields on one line", [_h("{ int x; int y; }", "{ int x, y; }"), LOCAL], "core", "ok"),
    Case("char is unsigned char", [_h("unsigned char mode;", "char mode;"), BUMP], "core", "ok"),
    Case("another type that nobody pushed uses", [_h("struct shared {", "struct more { int z; };\nstruct shared {"),
                                                  BUMP], "core", "ok"),
    Case("a private namesake of another file", [_c("int f_local(", "struct private { char c; long long far; };\n"
                                                  "int f_local("),
                                               _c("return l.x + l.y;", "struct private p = {1, x}; volatile struct "
                                                  "private *q = &p; return l.x + (int)q->far;")], "core", "ok"),
    Case("more enumerators", [_h("MID = 3, HIGH", "MID = 3, HIGH, HIGHEST"),
                              _c("x ? HIGH : LOW", "x ? HIGHEST : LOW")], "core", "ok"),
    Case("a new function", [_c("int quiet(int a) {", "int fresh(struct live *l) { return l->speed; }\n"
                               "int quiet(int a) { a += fresh(&state);")], "core", "ok"),
    Case("a new variable", [_c("int counter;", "int counter; int counter2;"),
                            _c("return a * 2 + counter", "return ++counter2 + a")], "core", "ok"),
    Case("a new static of a function", [_c("static int calls;", "static int calls; static struct live other;"),
                                        _c("calls += x;", "calls += other.speed++;")], "core", "ok"),
    Case("all objects as they are", [], "core user", "ok"),
    # Signatures.
    Case("a parameter more, nobody calls", [_c("int quiet(int a)", "int quiet(int a, int b)"),
                                            _c("quiet(1)", "quiet(1, 2)"), _c("a * 2", "a * b")], "core", "safe"),
    Case("a parameter more of a static", [_c("inside(int a) { counter += a", "inside(int a, int b) { counter += a * b"),
                                          _c("inside(a)", "inside(a, 2)")], "core", "safe|ok"),
    Case("a parameter more, the caller stays", [*STEP, _c("counter * 3", "counter * b"),
                                                _u("step(3)", "step(3, 4)")], "core", "left", "u_step (user.c:"),
    Case("a parameter more, with its caller", [*STEP, _c("counter * 3", "counter * b"), _u("step(3)", "step(3, 4)")],
         "core user", "safe"),
    Case("the caller alone", [*STEP, _u("step(3)", "step(3, 4)")], "user", "left", "user.c calls step", declared=True),
    Case("a wider parameter", [_h("int step(int a);", "int step(long long a);"),
                               _c("step(int a) { counter += a", "step(long long a) { counter += (int)(a >> 1)")],
         "core", "left", "u_step"),
    Case("an unsigned parameter", [_h("int step(int a);", "int step(unsigned a);"),
                                   _c("step(int a) { counter += a", "step(unsigned a) { counter += a >> 1")],
         "core", "left", "u_step"),
    Case("a float for a double", [_c("double f_precise(double x) { precise += x; return precise; }",
                                     "float f_precise(float x) { precise += x; return (float)precise; }")],
         "core", "safe"),
    Case("a double for a float, called elsewhere", [_h("float scale(float x)", "double scale(double x)"),
                                                    _c("float scale(float x) { counter++; return x * 2.0f",
                                                       "double scale(double x) { counter++; return x * 2.5")],
         "core", "left", "u_scale"),
    Case("another result", [_h("int step(int a);", "void step(int a);"),
                            _c("int step(int a) { counter += a; return counter * 3; }",
                               "void step(int a) { counter += 2 * a; }")], "core", "left", "u_step"),
    Case("another result, with its caller", [_h("int step(int a);", "long long step(int a);"),
                                             _c("int step(int a) { counter += a; return counter",
                                                "long long step(int a) { counter += a; return counter"),
                                             _u("return step(3)", "return (int)step(5)")], "core user", "safe"),
    Case("no varargs any more", [_h("talk(const char *format, ...)", "talk(const char *format, int a, int b)"),
                                 _c("talk(const char *format, ...) { counter +=",
                                    "talk(const char *format, int a, int b) { counter += a + b +")],
         "core", "left", "u_talk"),
    Case("its address is kept", [_h("int taken(int a);", "int taken(int a, int b);"),
                                 _c("taken(int a) { counter -= a", "taken(int a, int b) { counter -= a * b")],
         "core", "left", "kept (user.c, by its address)"),
    Case("a struct by value is another", [_h("int sum(pair_t p);", "int sum(struct shared p);"),
                                          _c("sum(pair_t p) { counter++; return p.left + p.right",
                                             "sum(struct shared p) { counter++; return p.a - p.b")],
         "core", "left", "u_pair"),
    Case("a pointer for a value", [_h("int sum(pair_t p);", "int sum(pair_t *p);"),
                                   _c("sum(pair_t p) { counter++; return p.left + p.right",
                                      "sum(pair_t *p) { counter++; return p->left + p->right")],
         "core", "left", "u_pair"),
    Case("the pushed caller declares another", [_h("int step(int a);", "int step(char *a);"),
                                                _u("step(3)", "step((char *)4)")], "user", "left",
         "user.c calls step", declared=True),
    # Layouts without live instances.
    Case("a local struct's fields swapped", [_h("{ int x; int y; }", "{ int y; int x; }"), LOCAL], "core", "safe"),
    Case("a local struct grows", [_h("{ int x; int y; }", "{ int x; int y; int z; }"), LOCAL], "core", "safe"),
    Case("a local struct's field widens", [_h("{ int x; int y; }", "{ int x; long long y; }"),
                                           _c("return l.x + l.y;", "return l.x - (int)l.y;")], "core", "safe"),
    Case("a local struct's field is a float", [_h("{ int x; int y; }", "{ int x; float y; }"),
                                               _c("volatile struct local l = {x, x}; return l.x + l.y;",
                                                  "volatile struct local l = {x, 1.5f}; return l.x + (int)l.y;")],
         "core", "safe"),
    Case("a struct by value, both pushed", [PAIR, _c("p.left + p.right", "p.left - p.right")], "core user", "safe"),
    Case("a struct by value, one left", [PAIR, _c("p.left + p.right", "p.left - p.right"),
                                         _c("pair_t p = {a, b}", "pair_t p = {b, a}")], "core", "left", "u_pair"),
    Case("a struct with an instance elsewhere", [SHARED, _c("s->a + s->b", "s->a - s->b")], "core", "left", "u_shared"),
    Case("a struct through two pointers", [_h("{ struct loop_a *a; int n; }", "{ int n; struct loop_a *a; }"),
                                           _c("a->n + (a->b", "a->n - (a->b")], "core", "left", "(user.c"),
    Case("an enumerator has another value", [_h("MID = 3", "MID = 4"), _c("x ? MID : LOW", "x ? MID : HIGH")],
         "core", "lossy", "last"),
    Case("a typedef's width", [_h("typedef unsigned short ticks_t;", "typedef unsigned ticks_t;")], "core", "ok"),
    Case("an opaque struct", [_c("struct opaque { int secret; }", "struct opaque { int pad, secret; }")],
         "core", "unseen", "struct opaque"),
    Case("an allocated struct", [_h("struct made { int a; int b; }", "struct made { int b; int a; }"),
                                 _c("m->a + m->b", "m->a - m->b")], "core", "unseen", "malloc"),
    Case("a struct in a frame that stays", [_h("struct frame { int a; int b; }", "struct frame { int b; int a; }"),
                                            _c("struct frame f = {x, 2};", "struct frame f = {2, x};"),
                                            _c("f->a - f->b", "f->a + 2 * f->b")], "core", "safe"),
    # Live instances.
    Case("fields swapped", [_h("int speed; short count;", "short count; int speed;"), BUMP], "core", "migrate",
         "state (struct live)"),
    Case("a field more at the end", [_h("float gain;", "float gain; int more;"),
                                     _c("state.count++;", "state.count++; state.more++;")], "core", "migrate", "state"),
    Case("a field more in the padding", [_h("unsigned char mode;", "unsigned char mode, mode2;"),
                                         _c("state.count++;", "state.count++; state.mode2++;")],
         "core", "migrate", "state"),
    Case("a field dropped", [_h("unsigned char mode; ", ""), _c("{1, 2, 3, 4.0f}", "{1, 2, 4.0f}"),
                             _c("{{1, 1, 1, 1.0f}, {2, 2, 2, 2.0f}}", "{{1, 1, 1.0f}, {2, 2, 2.0f}}"), BUMP],
         "core", "migrate", "state"),
    Case("a field wider", [_h("short count;", "int count;"), BUMP], "core", "migrate", "state"),
    Case("a field narrower", [_h("int speed;", "short speed;"), BUMP], "core", "lossy", "speed: narrowed"),
    Case("a field's sign", [_h("int speed;", "unsigned speed;"), _c("state.speed += x;", "state.speed += 2u * x;")],
         "core", "lossy", "speed: retyped"),
    Case("a field is a float", [_h("int speed;", "float speed;"),
                                _c("return state.speed;", "return (int)state.speed;"),
                                _c("return presets[i & 1].speed;", "return (int)presets[i & 1].speed;")],
         "core", "lossy", "speed: retyped"),
    Case("a field renamed", [_h("int speed;", "int velocity;"), _c("state.speed", "state.velocity"),
                             _c("].speed", "].velocity"), BUMP], "core", "migrate", "state"),
    Case("nested in an array", [_h("{ short p; short q; }", "{ short q; short p; }"),
                                _c("outers[i].tail++", "outers[i].tail += 2")], "core", "migrate", "outers"),
    Case("nested grows", [_h("{ short p; short q; }", "{ short p; short q; int r; }"),
                          _c("outers[i].tail++", "outers[i].tail += 2")], "core", "migrate", "outers"),
    Case("an array in it is longer", [_h("struct inner in[2]", "struct inner in[4]"),
                                      _c("outers[i].tail++", "outers[i].tail += 2")], "core", "migrate", "outers"),
    Case("an array in it is shorter", [_h("struct inner in[2]; int tail;", "struct inner in[1]; int tail, rest;"),
                                       _c("outers[i].in[1].q", "outers[i].in[0].q"),
                                       _c("outers[i].tail++", "outers[i].rest++")], "core", "lossy", "narrowed"),
    Case("bits wider", [_h("unsigned mode : 3;", "unsigned mode : 4;")], "core", "migrate", "flags"),
    Case("bits swapped", [_h("unsigned on : 1; unsigned mode : 3;", "unsigned mode : 3; unsigned on : 1;")],
         "core", "migrate", "flags"),
    Case("bits narrower", [_h("unsigned mode : 3;", "unsigned mode : 2;")], "core", "lossy", "mode: narrowed"),
    Case("bits of another sign", [_h("int level : 5;", "unsigned level : 5;")], "core", "lossy", "level: retyped"),
    Case("a union grows", [_h("unsigned char b[4]; }", "unsigned char b[4]; double d; }"),
                           _c("word.i = x;", "word.i = 2 * x;")], "core", "migrate", "word"),
    Case("a union's member is another", [_h("float f; unsigned char b[4]", "double f; unsigned char b[4]"),
                                         _c("word.i = x;", "word.i = 2 * x;")], "core", "lossy", "word"),
    Case("an anonymous union's neighbour", [_h("struct { char c; };", "struct { char a, c; };")],
         "core", "migrate", "mixed"),
    Case("a list's head", [_h("{ struct node *next; int value; }", "{ int value; struct node *next; }")],
         "core", "migrate", "head"),
    Case("packed no more", [_h("struct packed { char c; int i; } __attribute__((packed))",
                               "struct packed { char c; int i; }")], "core", "migrate", "pack"),
    Case("aligned differently", [_h("struct aligned { int a; } __attribute__((aligned(8)))",
                                    "struct aligned { int a; int b; } __attribute__((aligned(8)))"),
                                 _c("line.a += x;", "line.a += x; line.b++;")], "core", "migrate", "line"),
    Case("a function pointer's type", [_h("callback_t)(int);", "callback_t)(int, int);"),
                                       _c("ops.read(x)", "ops.read(x, x)")], "core", "lossy", "ops"),
    Case("a field of an enumeration", [_h("MID = 3, HIGH", "HIGH, MID")], "core", "lossy", "last"),
    Case("a variable is a float", [_c("int counter;", "float counter;"), _c("return counter; }\nint outside",
                                                                           "return (int)counter; }\nint outside"),
                                   _c("counter *", "(int)counter *"), _c("a * 2 + counter", "a * 2 + (int)counter"),
                                   _c("return counter; }\npair", "return (int)counter; }\npair")],
         "core", "lossy", "counter"),
    Case("a variable's sign", [_c("int counter;", "unsigned counter;"), _c("counter += x;", "counter += 2u * x;"),
                               _c("counter * 3", "counter / 3")], "core", "lossy", "counter"),
    Case("a static is wider", [_c("static short small", "static int small")], "core", "migrate", "small"),
    Case("a function's static is wider", [_c("static short kept", "static int kept")], "core", "migrate", "kept"),
    Case("a function's static is narrower", [_c("static int calls", "static short calls")],
         "core", "lossy", "calls"),
    Case("an array variable is longer", [_h("row_t[3]", "row_t[5]"), _c("row[1] +=", "row[4] +=")],
         "core", "migrate", "row"),
    Case("an array variable is shorter", [_h("row_t[3]", "row_t[2]"), _c("row[1] +=", "row[0] +=")],
         "core", "lossy", "row"),
    Case("a pointer to another type", [_c("const int *pointer;", "const short *pointer;")], "core", "lossy", "pointer"),
    Case("constants alone", [_c("static const struct live presets[2] = {{1, 1, 1, 1.0f}",
                                "static const struct live presets[2] = {{9, 1, 1, 1.0f}")], "core", "ok"),
]  # fmt: skip
