"""A process that shares a port, told what to do line by line; run by test_hub_sharing.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hotflash.device import Device, LogText
from hotflash.errors import HotflashError
from hotflash.wire import messages as m


class Linked:
    def __init__(self, image: bytes) -> None:
        self.image = image
        self.pairs = (m.Pair(3, 1, 8),)
        self.words: tuple[m.Word, ...] = ()
        self.ranges: tuple[m.Range, ...] = ()


def answer(device: Device, command: dict[str, Any]) -> object:
    what = command["do"]
    if what == "owner":
        return device.channel.is_owner  # type: ignore[attr-defined]
    if what == "read":
        return device.read(command["address"], command["length"]).hex()
    if what == "begin":
        from hotflash.wire.channel import ask

        ask(device.channel, m.BeginRequest(device.refresh().generation, 0x03020100), m.BeginReply)
        return None
    if what == "push":
        size = command["size"]
        begin = m.BeginRequest(device.refresh().generation, 0x03020100, 0, 1, (m.SlotRequest(kind=1, length=size),))
        return device.push(begin, lambda _: Linked(bytes(size))).generation
    if what == "line":
        for event in events:
            if isinstance(event, LogText):
                return event.text
    return None


url, folder = sys.argv[1:]
with Device.connect(url, share=Path(folder), timeout=5) as device, device.events() as events:
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(device, json.loads(line))
        except HotflashError as error:
            reply = {"error": type(error).__name__, "message": error.message}
        print(json.dumps(reply), flush=True)
