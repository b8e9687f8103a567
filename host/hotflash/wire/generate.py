"""Generates message code and tables from ``bootloader/protocol.toml``.

Run ``python -m hotflash.wire.generate`` in the project's root after a change of the protocol;
``--check`` only compares and exits with 1 when a generated file is stale.
"""

from __future__ import annotations

import builtins
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

Layout = dict[str, Any]
Field = tuple[str, str, str]

_GROUPS = {
    "channels": ("Channel", "HF_CH"),
    "status": ("Status", "HF"),
    "reasons": ("Reason", "HF_REASON"),
    "memories": ("Memory", "HF_MEMORY"),
    "slot_kinds": ("SlotKind", "HF_SLOT"),
    "modes": ("CommitMode", "HF_COMMIT"),
    "hello_flags": ("HelloFlag", "HF_HELLO"),
    "protect_flags": ("ProtectFlag", "HF_PROTECT"),
    "slot_flags": ("SlotFlag", "HF_SLOTF"),
    "read_flags": ("ReadFlag", "HF_READF"),
    "park_reasons": ("ParkReason", "HF_PARK"),
    "park_words": ("ParkWord", "HF_PARKW"),
}
_FLAGS = {"hello_flags", "protect_flags", "slot_flags", "read_flags"}
_TEXTS = {"reasons", "memories"}
"""Groups whose meanings are shown to people: the device sends the number only."""


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _ordered_records(layout: Layout) -> list[Layout]:
    """Records with those first that others contain."""
    by_name = {record["name"]: record for record in layout["record"]}
    done: dict[str, Layout] = {}

    def visit(record: Layout) -> None:
        for _, kind, _ in record["fields"]:
            if kind.startswith("["):
                visit(by_name[kind[1:-1]])
        done.setdefault(record["name"], record)

    for record in layout["record"]:
        visit(record)
    return list(done.values())


# ------------------------------------------------------------------------------------------ Python

_PY_TYPE = {"id20": "bytes", "str": "str", "bytes": "bytes"}
_PY_DEFAULT = {"id20": "bytes(20)", "str": '""', "bytes": 'b""'}


_PY_CALL = {"bytes": ("raw", "rest"), "str": ("text", "text")}


def _py_class(name: str, doc: str, fields: list[Field], op: str | None) -> str:
    out = [f"class {name}(Message):", f'    """{doc}"""', ""]
    if op:
        out += [f"    OP: ClassVar[Op] = Op.{op}", ""]
    for field, kind, text in fields:
        if kind.startswith("["):
            out.append(f"    {field}: tuple[{kind[1:-1]}, ...] = ()")
        else:
            out.append(f"    {field}: {_PY_TYPE.get(kind, 'int')} = {_PY_DEFAULT.get(kind, '0')}")
        out.append(f'    """{text[0].upper() + text[1:]}."""')
    if fields:
        out.append("")
    out += ["    def pack(self, w: Writer) -> None:", '        """Appends the fields to ``w``."""']
    for field, kind, _ in fields:
        if kind.startswith("["):
            one = field.removesuffix("s")
            one += "_" * hasattr(builtins, one)
            out += [f"        w.uv(len(self.{field}))", f"        for {one} in self.{field}:"]
            out.append(f"            {one}.pack(w)")
        else:
            out.append(f"        w.{_PY_CALL.get(kind, (kind, kind))[0]}(self.{field})")
    if not fields:
        out.append("        del w")
    out += [
        "",
        "    @classmethod",
        f"    def unpack(cls, r: Reader) -> {name}:",
        '        """Takes the fields from ``r``."""',
    ]
    if not fields:
        out += ["        del r", "        return cls()"]
    else:
        out.append("        return cls(")
        for field, kind, _ in fields:
            if kind.startswith("["):
                out.append(f"            {field}=tuple({kind[1:-1]}.unpack(r) for _ in range(r.count())),")
            else:
                out.append(f"            {field}=r.{_PY_CALL.get(kind, (kind, kind))[1]}(),")
        out.append("        )")
    return "\n".join(out) + "\n"


def python_source(layout: Layout) -> str:
    """The text of ``hotflash/wire/messages.py``."""
    out = [
        '"""The wire protocol\'s messages. Generated from bootloader/protocol.toml: do not edit."""',
        "# ruff: noqa: E501",
        "",
        "from __future__ import annotations",
        "",
        "from enum import IntEnum, IntFlag",
        "from typing import TYPE_CHECKING, ClassVar",
        "",
        "from hotflash.wire.codec import Message",
        "",
        "if TYPE_CHECKING:",
        "    from hotflash.wire.codec import Reader, Writer",
        "",
        f"VERSION = {layout['version']}",
        '"""Version of the wire protocol."""',
        "",
    ]
    for group, (name, _) in _GROUPS.items():
        base = "IntFlag" if group in _FLAGS else "IntEnum"
        out += ["", f"class {name}({base}):", f'    """{group.replace("_", " ").capitalize()}."""', ""]
        for key, (value, text) in layout[group].items():
            out += [f"    {key} = {value}", f'    """{text[0].upper() + text[1:]}."""']
        out.append("")
        if group in _TEXTS:
            out += ["", f"{name.upper()}_TEXTS: dict[int, str] = {{"]
            out += [f'    {value}: "{text}",' for value, text in layout[group].values()]
            out += ["}", f'"""What a :class:`{name}` means, for people."""', ""]
    out += ["", "class Op(IntEnum):", '    """Operations of the control channel."""', ""]
    for message in layout["message"]:
        out.append(f"    {_snake(message['name']).upper()} = {message['op']}")
    out.append("")
    for record in _ordered_records(layout):
        out += ["", _py_class(record["name"], record["doc"], record["fields"], None)]
    for message in layout["message"]:
        op = _snake(message["name"]).upper()
        out += ["", _py_class(f"{message['name']}Request", message["doc"], message["request"], op)]
        out += ["", _py_class(f"{message['name']}Reply", f"Reply to {message['name']}Request.", message["reply"], op)]
    return "\n".join(out).rstrip() + "\n"


# ----------------------------------------------------------------------------------------------- C

_C_KIND = {"u8": "1", "u16": "2", "u32": "4", "u64": "44", "uv": "v"}
"""What the device's ``hf_get`` and ``hf_put`` (codec.c) do with each word of a struct."""


def _c_struct(name: str, doc: str, fields: list[Field]) -> str:
    """A struct of words, the description that the codec follows, and typed calls of it.

    Requests are only taken, replies only put, records both. A list is counted in the struct; its records
    are taken or put one by one behind it. Texts and bytes are taken or put behind it as well: the struct
    ends at the first of either.
    """
    snake = _snake(name)
    words: list[str] = []
    kinds = ""
    more = name.endswith("Record")
    for field, kind, text in fields:
        if kind.startswith("["):
            words.append(f"    uint32_t {field}_count; /* {text}: {kind[1:-1]} records follow */")
            kinds += "v"
        elif kind == "u64":
            words.append(f"    uint32_t {field}[2]; /* {text}; low word first */")
            kinds += _C_KIND[kind]
        elif kind in _C_KIND:
            words.append(f"    uint32_t {field}; /* {text} */")
            kinds += _C_KIND[kind]
        if kind not in _C_KIND:
            more = True
            break
    macro = f"HF_{snake.upper()}"
    out = [f"/* {doc} */", f'#define {macro} "{kinds}{"+" if more else ""}"']
    if not words:
        return "\n".join([*out, ""])
    out += [f"struct hf_{snake} {{", *words, "};"]
    out += [f'_Static_assert(sizeof(struct hf_{snake}) == 4 * {len(kinds)}, "only words");', ""]
    if not name.endswith("Reply"):
        out += [f"static inline bool hf_get_{snake}(struct hf_reader *c, struct hf_{snake} *m)", "{"]
        out += [f"    return hf_get(c, {macro}, m);", "}", ""]
    if not name.endswith("Request"):
        out += [f"static inline void hf_put_{snake}(struct hf_writer *c, const struct hf_{snake} *m)", "{"]
        out += [f"    hf_put(c, {macro}, m);", "}", ""]
    return "\n".join(out)


def c_source(layout: Layout) -> str:
    """The text of ``bootloader/src/hf_messages.h``."""
    out = [
        "/* The wire protocol's messages. Generated from bootloader/protocol.toml: do not edit. */",
        "#ifndef HF_MESSAGES_H",
        "#define HF_MESSAGES_H",
        "",
        '#include "hf_codec.h"',
        "",
        f"#define HF_WIRE_VERSION {layout['version']}u",
        "",
    ]
    for group, (name, prefix) in _GROUPS.items():
        out += [f"enum hf_{_snake(name)} {{"]
        for key, (value, text) in layout[group].items():
            out.append(f"    {prefix}_{key} = {value}, /* {text} */")
        out += ["};", ""]
    out.append("enum hf_op {")
    for message in layout["message"]:
        out.append(f"    HF_OP_{_snake(message['name']).upper()} = {message['op']},")
    out += ["};", ""]
    for record in _ordered_records(layout):
        out.append(_c_struct(record["name"] + "Record", record["doc"], record["fields"]))
    for message in layout["message"]:
        out.append(_c_struct(message["name"] + "Request", message["doc"], message["request"]))
        out.append(_c_struct(message["name"] + "Reply", f"Reply to {message['name']}.", message["reply"]))
    out += ["/* Any request's struct. */", "union hf_request {"]
    for message in layout["message"]:
        snake = _snake(message["name"])
        if message["request"]:
            out.append(f"    struct hf_{snake}_request {snake};")
    out += ["};", "", "#endif"]
    return "\n".join(out) + "\n"


# ------------------------------------------------------------------------------------------- tables

BEGIN_MARK = "<!-- generated from bootloader/protocol.toml -->"
END_MARK = "<!-- end of the generated part -->"


def _table(fields: list[Field]) -> list[str]:
    if not fields:
        return ["(empty)", ""]
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {kind} | {text} |" for name, kind, text in fields]
    return [*rows, ""]


def tables(layout: Layout) -> str:
    """The generated part of ``docs/SPEC.md``."""
    out = [BEGIN_MARK, "", f"Wire version **{layout['version']}**.", ""]
    for group in _GROUPS:
        out += [f"### {group.replace('_', ' ').capitalize()}", "", "| name | value | meaning |", "| --- | --- | --- |"]
        out += [f"| `{key}` | {value} | {text} |" for key, (value, text) in layout[group].items()]
        out.append("")
    out += ["### Records", ""]
    for record in layout["record"]:
        out += [f"**{record['name']}**: {record['doc']}", "", *_table(record["fields"])]
    out += ["### Messages", ""]
    for message in layout["message"]:
        out += [f"#### {message['name']} (operation {message['op']})", "", message["doc"], ""]
        out += ["Request:", "", *_table(message["request"]), "Reply:", "", *_table(message["reply"])]
    out.append(END_MARK)
    return "\n".join(out)


def generated(root: Path) -> dict[Path, str]:
    """Every generated file of the tree at ``root`` with the text it should have."""
    layout = tomllib.loads((root / "bootloader/protocol.toml").read_text(encoding="utf-8"))
    spec = root / "docs/SPEC.md"
    text = spec.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN_MARK)
    after = rest.partition(END_MARK)[2]
    return {
        root / "host/hotflash/wire/messages.py": python_source(layout),
        root / "bootloader/src/hf_messages.h": c_source(layout),
        spec: before + tables(layout) + after,
    }


def main(arguments: list[str]) -> int:
    """Writes the generated files, or with ``--check`` names the stale ones."""
    root = Path(__file__).resolve().parents[3]
    stale = 0
    for path, text in generated(root).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{'stale' if '--check' in arguments else 'wrote'}: {path.relative_to(root)}")
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
