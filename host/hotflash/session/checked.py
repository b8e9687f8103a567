"""Plans whose types were compared with what is live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotflash.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile
    from hotflash.link import Plan
    from hotflash.link.helpers import Source
    from hotflash.live import LiveState
    from hotflash.types.verdict import Verdict


def checked_plan(
    objects: Sequence[ObjectFile],
    firmware: Firmware,
    live: LiveState,
    archives: Source | None,
    edits: Callable[[], Iterable[ObjectFile]],
    *,
    renames: Mapping[str, str] | None = None,
    reinit: Iterable[str] = (),
) -> tuple[Plan | None, Verdict]:
    """A plan, and what it does to types. ``edits`` gives the objects whose edits are live, if it is asked.

    Raises what the linker raises. But where a type that changed is the reason, there is no plan, and the verdict has
    the refusal.
    """
    from hotflash.link import plan as make_plan
    from hotflash.types.check import judge
    from hotflash.types.verdict import Verdict

    try:
        plan = make_plan(objects, firmware, live, archives)
    except LinkError:
        # A variable that has grown, for example: what its type has become says more than its size.
        every = {obj: {s.index for s in obj.sections if s.code and s.alloc and s.size} for obj in objects}
        verdict = judge(every, firmware, edits(), renames=renames, reinit=reinit)
        if verdict.refusal is None or not verdict.migrations:
            raise
        return None, verdict
    if plan.empty:
        return plan, Verdict()
    verdict = judge(plan.sent, firmware, edits(), renames=renames, reinit=reinit)
    for obj, names in verdict.frames:
        plan.guard(obj, names)
    return plan, verdict
