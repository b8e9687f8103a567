"""Seeded C programs of several units, and edits of them, for the round trips.

All arithmetic is unsigned, every statement has at most one call, and calls go from higher to lower levels: a program
has one meaning, whichever compiler and level, and ends. Names collide on purpose: units have statics of the same
name, functions have statics of the same name, and edits change the numbers that compilers give them.
"""

from __future__ import annotations

import random
import re
from copy import deepcopy
from dataclasses import dataclass, field

SUPPORT = """
#define PORT (*(volatile unsigned *)0x40000000)
void out(unsigned value) { PORT = value; }
void say(const char *text) { while (*text) PORT = 0x100u | (unsigned char)*text++; }
__attribute__((cold, noinline)) void fail(const char *file, unsigned line) { say(file); PORT = line; }
void *memcpy(void *to, const void *from, unsigned size)
{ char *t = to; const char *f = from; while (size--) { *t++ = *f++; __asm__ volatile(""); } return to; }
void *memset(void *to, int value, unsigned size)
{ char *t = to; while (size--) { *t++ = (char)value; __asm__ volatile(""); } return to; }
void __aeabi_memcpy(void *, const void *, unsigned) __attribute__((alias("memcpy")));
void __aeabi_memcpy4(void *, const void *, unsigned) __attribute__((alias("memcpy")));
void __aeabi_memcpy8(void *, const void *, unsigned) __attribute__((alias("memcpy")));
unsigned long long wide(unsigned long long a, unsigned long long b) { return a / (b | 1) + a % (b | 1); }
unsigned step(unsigned);
int start(void) { return (int)step(0); }
"""
HEAD = """\
typedef unsigned (*fn)(unsigned, unsigned);
struct pair { unsigned a; unsigned short b; };
void out(unsigned); void say(const char *); void fail(const char *, unsigned);
#define CHECK(c) ((c) ? (void)0 : fail(__FILE__, __LINE__))
"""
TYPES = {"u32": "unsigned", "u16": "unsigned short", "u8": "unsigned char", "text": "const char *", "call": "fn"}
STATIC_NAMES = ("count", "last", "state", "seed", "slot")
FUNCTION_NAMES = ("tick", "blend", "probe", "fold", "turn")
WORDS = ("red", "green", "blue", "stop", "warm", "cold", "left", "right", "a longer text that is merged")
NUMBERS = ("u32", "u16", "u8", "array", "pair")
Key = tuple[str, str, str]
"""Unit, owning function (or empty) and name of a variable."""


@dataclass(eq=False)
class Variable:
    name: str
    unit: str
    owner: str
    kind: str
    static: bool
    init: list[int] = field(default_factory=list)
    text: str = ""
    targets: list[Function] = field(default_factory=list)
    constant: bool = False
    volatile: bool = False

    @property
    def key(self) -> Key:
        return self.unit if self.static else "", self.owner, self.name

    def declare(self, *, extern: bool = False) -> str:
        words = "static " if self.static else "extern " if extern else ""
        words += "volatile " if self.volatile else ""
        if self.kind == "table":
            head = f"{words}fn {'const ' if self.constant else ''}{self.name}[{len(self.targets)}]"
            value = "{" + ", ".join(f.name for f in self.targets) + "}"
        elif self.kind == "array":
            head = f"{words}{'const ' if self.constant else ''}unsigned {self.name}[{len(self.init)}]"
            value = "{" + ", ".join(f"{n}u" for n in self.init) + "}" if any(self.init) else ""
        elif self.kind == "pair":
            head = f"{words}struct pair {self.name}"
            value = f"{{{self.init[0]}u, {self.init[1] & 0xFFFF}u}}" if any(self.init) else ""
        else:
            head = f"{words}{TYPES[self.kind]} {self.name}"
            values = {"text": f'"{self.text}"', "call": self.targets[0].name if self.targets else ""}
            value = values.get(self.kind, f"{self.init[0]}u" if self.init and self.init[0] else "")
        return head + (f" = {value};" if value and not extern else ";")

    def expression(self, index: str = "r") -> str:
        if self.kind == "array":
            return f"{self.name}[{index} % {len(self.init)}u]"
        return f"{self.name}.a" if self.kind == "pair" else self.name


@dataclass(eq=False)
class Statement:
    """C with placeholders: ``@C0`` a constant, ``@V0`` a variable's value, ``@N0`` its name, ``@F0`` a function,
    ``@S0`` a text."""

    template: str
    constants: list[int] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def render(self) -> str:
        def put(found: re.Match[str]) -> str:
            number = int(found[2])
            match found[1]:
                case "C":
                    return f"{self.constants[number]}u"
                case "V":
                    return self.variables[number].expression()
                case "N":
                    return self.variables[number].name
                case "F":
                    return self.functions[number].name
                case _:
                    return f'"{self.texts[number]}"'

        return re.sub(r"@([CVNFS])(\d)", put, self.template)


@dataclass(eq=False)
class Function:
    name: str
    unit: str
    static: bool
    level: int
    attributes: str = ""
    variables: list[Variable] = field(default_factory=list)
    body: list[Statement] = field(default_factory=list)
    targeted: bool = False
    """Pointers to it exist: edits keep it."""

    def render(self) -> str:
        lines = [f"{self.prototype} {{"]
        lines += [f"    {v.declare()}" for v in self.variables]
        lines += ["    unsigned r = a * 3u + 1u, t = b ^ 7u;", *(f"    {s.render()}" for s in self.body)]
        return "\n".join([*lines, "    return r ^ (t << 1);", "}"])

    @property
    def prototype(self) -> str:
        head = "static " if self.static else ""
        return f"{head}{self.attributes}unsigned {self.name}(unsigned a, unsigned b)"


@dataclass(eq=False)
class Unit:
    name: str
    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)
    """Functions that have a comment above them, by number."""


class Program:
    """A program that an edit can be made to. ``edits`` says what was done, for messages."""

    def __init__(self, seed: int, units: int = 2, functions: int = 5) -> None:
        self.random = random.Random(seed)
        self.edits: list[str] = []
        self._serial = 0
        self.units = [Unit(f"u{number}.c") for number in range(units)]
        for level in range(1, functions * units // 2 + 1):
            for unit in self.units:
                self._add_function(unit, level)
        self.top = Function("step", "u0.c", static=False, level=1000)
        self.units[0].functions.append(self.top)
        self._step()

    # ------------------------------------------------------------------------------------- text

    def sources(self) -> dict[str, str]:
        """C by file name."""
        return {unit.name: self._render(unit) for unit in self.units}

    def _render(self, unit: Unit) -> str:
        variables, functions = self._used(unit)
        lines = [HEAD]
        lines += [f.prototype + ";" for f in self.functions() if f in functions and f.unit != unit.name]
        lines += [f.prototype + ";" for f in unit.functions if f is not self.top]
        lines += [v.declare(extern=True) for v in self.globals() if v in variables and v.unit != unit.name]
        lines += [v.declare() for v in unit.variables]
        for number, function in enumerate(unit.functions):
            lines += ["/* a comment */\n"] * unit.comments.count(number)
            lines.append(self._render_step() if function is self.top else function.render())
        return "\n".join(lines) + "\n"

    def _render_step(self) -> str:
        calls = [f"    {s.render()}" for s in self.top.body]
        return "\n".join(["unsigned step(unsigned a) {\n    unsigned r = a, t = a;", *calls, "    out(r + t);",
                          "    return r;\n}"])  # fmt: skip

    def _used(self, unit: Unit) -> tuple[set[Variable], set[Function]]:
        statements = [s for f in unit.functions for s in f.body]
        variables = {v for s in statements for v in s.variables}
        functions = {f for s in statements for f in s.functions}
        for variable in [*unit.variables, *(v for f in unit.functions for v in f.variables)]:
            functions.update(variable.targets)
        return variables, functions

    def functions(self) -> list[Function]:
        return [f for u in self.units for f in u.functions]

    def globals(self) -> list[Variable]:
        return [v for u in self.units for v in u.variables if not v.static]

    def variables(self) -> dict[Key, Variable]:
        """Every variable by unit, owner and name; globals have no unit."""
        found = [v for u in self.units for v in u.variables]
        found += [v for f in self.functions() for v in f.variables]
        return {v.key: v for v in found}

    # --------------------------------------------------------------------------------- building

    def _constant(self) -> int:
        rng = self.random
        return rng.choice((rng.randrange(1, 16), rng.randrange(256), rng.getrandbits(32)))

    def _name(self, taken: set[str], names: tuple[str, ...]) -> str:
        free = [n for n in names if n not in taken]
        if free and self.random.random() < 0.8:
            return self.random.choice(free)
        return self._unique(self.random.choice(names))

    def _unique(self, stem: str) -> str:
        self._serial += 1
        return f"{stem}_{self._serial}"

    def _add_function(self, unit: Unit, level: int) -> Function:
        rng = self.random
        static = rng.random() < 0.6
        taken = {f.name for f in unit.functions} | {v.name for v in unit.variables}
        name = self._name(taken, FUNCTION_NAMES) if static else self._unique("common")
        attributes = rng.choice(("", "", "", "__attribute__((noinline)) "))
        function = Function(name, unit.name, static=static, level=level, attributes=attributes)
        for _ in range(rng.randrange(2, 5)):
            self._add_statement(unit, function)
        unit.functions.insert(rng.randrange(len(unit.functions) + 1), function)
        return function

    def _add_variable(self, unit: Unit, owner: Function | None, kind: str = "") -> Variable:
        rng = self.random
        static = owner is not None or rng.random() < 0.7
        kind = kind or rng.choice(("u32", "u32", "u32", "u8", "u16", "array", "pair", "text"))
        if owner is not None:
            seen = {n.name for s in owner.body for n in s.variables} | {f.name for s in owner.body for f in s.functions}
            name = self._name(seen | {v.name for v in owner.variables}, STATIC_NAMES)
        elif static:
            name = self._name({v.name for v in unit.variables}, STATIC_NAMES)
        else:
            name = self._unique("shared")
        found = Variable(name, unit.name, owner.name if owner else "", kind, static)
        count = rng.randrange(3, 7) if kind == "array" else 2
        found.init = [rng.choice((0, self._constant() & 0xFF)) for _ in range(count)]
        found.text = rng.choice(WORDS)
        found.volatile = kind in ("u32", "u8") and rng.random() < 0.1
        (owner.variables if owner else unit.variables).append(found)
        return found

    def _variable(self, unit: Unit, function: Function, kinds: tuple[str, ...] = NUMBERS) -> Variable:
        """A variable that the function can see; sometimes a new one."""
        rng = self.random
        hidden = {v.name for v in function.variables}
        found = [v for v in function.variables if v.kind in kinds]
        found += [v for v in (*unit.variables, *self.globals()) if v.kind in kinds and v.name not in hidden]
        found = [v for v in found if not v.constant]
        if not found or rng.random() < 0.25:
            new = self._add_variable(unit, function if rng.random() < 0.6 else None, rng.choice(kinds))
            if new.owner or new.name not in hidden:
                return new
            unit.variables.remove(new)
            return self._add_variable(unit, function, rng.choice(kinds))
        return rng.choice(found)

    def _callee(self, unit: Unit, function: Function, *, below: int | None = None) -> Function | None:
        limit = function.level if below is None else below
        hidden = {v.name for v in function.variables}
        names = {f.name for f in unit.functions}
        found = [f for f in unit.functions if f.level < limit and f.name not in hidden]
        found += [f for u in self.units if u is not unit for f in u.functions
                  if f.level < limit and not f.static and f.name not in names]  # fmt: skip
        return self.random.choice(found) if found else None

    def _add_statement(self, unit: Unit, function: Function, at: int | None = None) -> str:
        rng = self.random
        kind = rng.choice(_KINDS)
        if function.attributes.startswith("inline") and kind in ("label", "recurse"):
            kind = "update"
        statement = getattr(self, f"_{kind}")(unit, function)
        if statement is None:
            kind = "update"
            statement = self._update(unit, function)
        function.body.insert(len(function.body) if at is None else at, statement)
        return kind

    def _c(self, count: int) -> list[int]:
        return [self._constant() for _ in range(count)]

    def _update(self, unit: Unit, function: Function) -> Statement:
        text = self.random.choice((
            "@V0 += r ^ @C0;", "r += @V0; @V0 = t + @C0;", "t ^= @V0 >> 3; @V0++;", "@V0 ^= @C0; r -= @V0;",
            "r = r * 5u + @C0; t += @V0;", "if (@V0 > @C0) @V0 = t & 15u; else @V0 += 3u;",
        ))  # fmt: skip
        return Statement(text, self._c(1), [self._variable(unit, function)])

    def _print(self, unit: Unit, function: Function) -> Statement:
        return Statement("out(r + @V0);", [], [self._variable(unit, function)])

    def _speak(self, unit: Unit, function: Function) -> Statement:
        if self.random.random() < 0.4:
            variable = self._variable(unit, function, ("text",))
            texts = [self.random.choice(WORDS)]
            return Statement("say(@N0); if (r & 1u) @N0 = @S0;", [], [variable], texts=texts)
        return Statement("say(@S0);", texts=[self.random.choice(WORDS)])

    def _loop(self, unit: Unit, function: Function) -> Statement:
        count = self.random.randrange(2, 9)
        text = f"for (unsigned i = 0; i < {count}u; i++) {{ r += i * @C0 ^ @V0; t = t >> 1 | r << 31; }}"
        return Statement(text, self._c(1), [self._variable(unit, function)])

    def _switch(self, unit: Unit, function: Function) -> Statement:
        count = self.random.randrange(4, 9)
        if self.random.random() < 0.4:  # becomes a table of constants
            cases = " ".join(f"case {n}: r ^= @C{n}; break;" for n in range(count))
            return Statement(f"switch (t & 7u) {{ {cases} default: r++; }}", self._c(count))
        shapes = ("@V0 += @C{n}; break;", "r = t * @C{n} + @V0; break;", "out(@C{n});", "t -= r >> {n}; break;",
                  "r = @V0 / (t | 1u) ^ @C{n}; break;")  # fmt: skip
        cases = " ".join(f"case {n}: {self.random.choice(shapes).replace('{n}', str(n))}" for n in range(count))
        text = f"switch (r & 7u) {{ {cases} break; default: t++; }}"
        return Statement(text, self._c(count), [self._variable(unit, function)])

    def _call(self, unit: Unit, function: Function) -> Statement | None:
        callee = self._callee(unit, function)
        if callee is None:
            return None
        shape = self.random.choice(("r += @F0(t, @C0);", "t = @F0(r & 15u, t);", "if (r & 2u) t += @F0(r, @C0);"))
        return Statement(shape, self._c(1), functions=[callee])

    def _tail(self, unit: Unit, function: Function) -> Statement | None:
        callee = self._callee(unit, function)
        return Statement("if (t > r) return @F0(r, @C0);", self._c(1), functions=[callee]) if callee else None

    def _recurse(self, unit: Unit, function: Function) -> Statement | None:  # noqa: ARG002
        if any(function in s.functions for s in function.body):
            return None
        shape = self.random.choice((
            "if (a - 1u < 7u) r += @F0(a - 1u, r & @C0);", "if (a - 1u < 5u) return @F0(a - 1u, t + @C0);",
        ))  # fmt: skip
        return Statement(shape, self._c(1), functions=[function])

    def _local(self, unit: Unit, function: Function) -> Statement:  # noqa: ARG002
        count = self.random.randrange(3, 9)
        values = ", ".join(f"@C{n}" for n in range(count))
        if self.random.random() < 0.5:
            text = f"{{ unsigned x[] = {{{values}}}; x[t % {count}u] += r; r ^= x[r % {count}u]; }}"
            return Statement(text, self._c(count))
        return Statement("{ struct pair x = {@C0, (unsigned short)@C1}; x.a += t; r += x.a * x.b; }", self._c(2))

    def _check(self, unit: Unit, function: Function) -> Statement:
        return Statement("CHECK((@V0 & @C0) != r);", self._c(1), [self._variable(unit, function)])

    def _rare(self, unit: Unit, function: Function) -> Statement:
        text = "if (__builtin_expect(r == @C0 || (r & 0xffu) == 3u, 0)) { fail(@S0, @C0); t += @V0; }"
        return Statement(text, self._c(1), [self._variable(unit, function)], texts=[self.random.choice(WORDS)])

    def _wide(self, unit: Unit, function: Function) -> Statement:
        text = (
            "{ unsigned long long x = ((unsigned long long)r << 32 | t) / (@V0 | 1u); r ^= (unsigned)x; "
            "t += (unsigned)(x >> 32); }"
        )
        return Statement(text, [], [self._variable(unit, function)])

    def _label(self, unit: Unit, function: Function) -> Statement:  # noqa: ARG002
        self._serial += 1
        n = self._serial
        text = (f"{{ static const void *const to[] = {{&&l{n}a, &&l{n}b, &&l{n}c}}; goto *to[r % 3u]; l{n}a: t += @C0; "
                f"l{n}b: r ^= @C1; l{n}c: t--; }}")  # fmt: skip
        return Statement(text, self._c(2))

    def _pointer(self, unit: Unit, function: Function) -> Statement | None:
        if function.level <= 2:
            return None
        targets = [f for f in unit.functions if f.level <= 2 and f.name not in {v.name for v in function.variables}]
        if not targets:
            return None
        variable = next((v for v in unit.variables if v.kind == "call"), None)
        if variable is None:
            variable = self._add_variable(unit, None, "call")
            variable.targets = [self.random.choice(targets)]
            variable.targets[0].targeted = True
        if variable.name in {v.name for v in function.variables}:
            return None
        other = self.random.choice(targets)
        other.targeted = True
        return Statement("r += @N0(t, @C0); if (r & 4u) @N0 = @F0; t += @N0 == @F0;", self._c(1), [variable], [other])

    def _table(self, unit: Unit, function: Function) -> Statement | None:
        if function.level <= 2:
            return None
        targets = [f for f in unit.functions if f.level <= 2]
        if not targets:
            return None
        rng = self.random
        variable = next((v for v in unit.variables if v.kind == "table"), None)
        if variable is None:
            variable = self._add_variable(unit, None, "table")
            variable.static = True
            variable.name = f"table_{self._serial}"
            self._serial += 1
            variable.constant = rng.random() < 0.7
            variable.targets = [rng.choice(targets) for _ in range(rng.randrange(2, 5))]
            for target in variable.targets:
                target.targeted = True
        return Statement(f"t ^= @N0[r % {len(variable.targets)}u](r, @C0);", self._c(1), [variable])

    def _step(self) -> None:
        called = {f for g in self.functions() for s in g.body for f in s.functions if f is not g}
        for function in self.functions():
            if function is self.top or function in called or (function.static and function.unit != "u0.c"):
                continue
            self.top.body.append(Statement("r += @F0(t, @C0);", [self.random.randrange(9)], functions=[function]))

    # ---------------------------------------------------------------------------------- editing

    def edited(self) -> Program:
        """A copy with one to three edits; ``edits`` names them."""
        new = deepcopy(self)
        new.edits = []
        wanted = new.random.choice((1, 1, 2, 3))
        for _ in range(50):
            edit = new.random.choice(_EDITS)
            done: str | None = getattr(new, f"_edit_{edit}")()
            if done:
                new.edits.append(f"{edit}: {done}")
                if len(new.edits) == wanted:
                    break
        return new

    def _pick(self) -> tuple[Unit, Function]:
        unit = self.random.choice(self.units)
        return unit, self.random.choice([f for f in unit.functions if f is not self.top] or [self.top])

    def _statement(self) -> tuple[Unit, Function, Statement] | None:
        unit, function = self._pick()
        if not function.body or function is self.top:
            return None
        return unit, function, self.random.choice(function.body)

    def _edit_constant(self) -> str | None:
        found = self._statement()
        if found is None or not found[2].constants:
            return None
        at = self.random.randrange(len(found[2].constants))
        found[2].constants[at] = self._constant()
        return found[1].name

    def _edit_add(self) -> str | None:
        unit, function = self._pick()
        if function is self.top:
            return None
        kind = self._add_statement(unit, function, self.random.randrange(len(function.body) + 1))
        return f"{kind} in {function.name}"

    def _edit_remove(self) -> str | None:
        found = self._statement()
        if found is None:
            return None
        found[1].body.remove(found[2])
        return found[1].name

    def _edit_function(self) -> str | None:
        unit = self.random.choice(self.units)
        callers = [f for f in unit.functions if f.level > 1 and f is not self.top]
        if not callers:
            return None
        caller = self.random.choice(callers)
        new = self._add_function(unit, self.random.randrange(1, caller.level))
        if new.name in {v.name for v in caller.variables}:
            unit.functions.remove(new)
            return None
        caller.body.insert(0, Statement("r ^= @F0(b, @C0);", self._c(1), functions=[new]))
        return f"{new.name} called by {caller.name}"

    def _edit_drop(self) -> str | None:
        unit, function = self._pick()
        if function is self.top or function.targeted:
            return None
        for other in self.functions():
            other.body = [s for s in other.body if function not in s.functions]
        unit.functions.remove(function)
        return function.name

    def _edit_inline(self) -> str | None:
        _, function = self._pick()
        if function is self.top:
            return None
        choices = ["", "__attribute__((noinline)) "]
        if (
            function.static
            and not function.targeted
            and not any(function in s.functions or "&&" in s.template for s in function.body)
        ):
            choices.append("inline __attribute__((always_inline)) ")
        choices.remove(function.attributes) if function.attributes in choices else None
        function.attributes = self.random.choice(choices)
        return function.name

    def _edit_text(self) -> str | None:
        found = self._statement()
        if found is None or not found[2].texts:
            return None
        found[2].texts[0] = self.random.choice((*WORDS, "something new", "red"))
        return found[1].name

    def _edit_initial(self) -> str | None:
        variables = [v for v in self.variables().values() if v.kind not in ("call", "table", "text")]
        if not variables:
            return None
        variable = self.random.choice(variables)
        variable.init = [self._constant() & 0xFF for _ in variable.init]
        return variable.name

    def _edit_table(self) -> str | None:
        tables = [v for v in self.variables().values() if v.kind == "table" and v.constant]
        if not tables:
            return None
        table = self.random.choice(tables)
        unit = next(u for u in self.units if u.name == table.unit)
        target = self.random.choice([f for f in unit.functions if f.level <= 2])
        if target.attributes.startswith("inline"):
            return None
        target.targeted = True
        table.targets[self.random.randrange(len(table.targets))] = target
        return table.name

    def _edit_move(self) -> str | None:
        unit = self.random.choice(self.units)
        self.random.shuffle(unit.functions)
        return unit.name

    def _edit_order(self) -> str | None:
        _, function = self._pick()
        self.random.shuffle(function.variables)
        return f"variables of {function.name}" if len(function.variables) > 1 else None

    def _edit_comment(self) -> str | None:
        unit = self.random.choice(self.units)
        unit.comments.append(self.random.randrange(len(unit.functions)))
        return unit.name

    def _edit_emigrate(self) -> str | None:
        unit, function = self._pick()
        others = [u for u in self.units if u is not unit]
        seen = [v for s in function.body for v in s.variables if v.static and not v.owner]
        called = [f for s in function.body for f in s.functions if f.static]
        if function is self.top or function.static or seen or called or function.targeted or not others:
            return None
        other = self.random.choice(others)
        names = {v.name for v in other.variables} | {f.name for f in other.functions}
        if names & {f.name for s in function.body for f in s.functions}:
            return None
        unit.functions.remove(function)
        other.functions.append(function)
        function.unit = other.name
        for variable in function.variables:
            variable.unit = other.name
        return f"{function.name} to {other.name}"

    def _edit_namesake(self) -> str | None:
        unit, function = self._pick()
        if function is self.top:
            return None
        taken = {v.name for v in function.variables}
        name = self.random.choice(STATIC_NAMES)
        calls = {f.name for s in function.body for f in s.functions}
        seen = {v.name for s in function.body for v in s.variables}
        if name in taken or name in calls or name in seen:
            return None
        new = Variable(name, unit.name, function.name, "u32", static=True, init=[self._constant() & 0xFF])
        function.variables.insert(0, new)
        function.body.insert(0, Statement("@V0 += b; t += @V0;", [], [new]))
        return f"{name} in {function.name}"


_KINDS = ("update", "update", "print", "speak", "loop", "switch", "switch", "call", "call", "call", "tail", "recurse",
          "local", "check", "rare", "wide", "label", "pointer", "table")  # fmt: skip
_EDITS = ("constant", "constant", "add", "add", "add", "remove", "function", "drop", "inline", "text", "initial",
          "table", "move", "order", "comment", "emigrate", "namesake")  # fmt: skip
