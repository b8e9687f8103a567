"""The journal follows the device: pushes, resets, rollbacks, other hosts, a host that dies."""

from __future__ import annotations

from hotflash.journal import Edit, Journal, Pushed, UnitEdits

F1, F2, G1 = Edit("f", 1, 0x11), Edit("f", 1, 0x12), Edit("g", 2, 0x21)


def obj(number: int) -> str:
    return f"{number:064x}"


def pushed(number: int, *edits: Edit, reverted: frozenset[int] = frozenset(), unit: str = "a.c") -> Pushed:
    return Pushed(unit, obj(number), f"{unit}.o", frozenset({1, 2}), edits, reverted)


def live(journal: Journal) -> dict[str, set[tuple[int, int]]]:
    return {entry.object: entry.keys for entry in journal.live}


def committed(*edits: Edit) -> Journal:
    journal = Journal()
    journal.observe(1, 0, [])
    journal.commit([pushed(1, *edits)], 1)
    return journal


def test_a_later_object_of_a_unit_carries_what_is_still_live() -> None:
    journal = committed(F1)
    journal.commit([pushed(2, G1)], 2)
    assert live(journal) == {obj(2): {F1.key, G1.key}}
    journal.commit([pushed(3, F2)], 3)
    assert live(journal) == {obj(3): {F2.key, G1.key}}
    journal.observe(1, 3, [F2.key, G1.key], {F2.key, G1.key})
    assert journal.objects == {obj(2), obj(3)}, "and what a rollback needs"


def test_versions_that_still_run_keep_their_names() -> None:
    journal = committed(F1)
    journal.commit([pushed(2, F2)], 2)
    journal.commit([pushed(3, G1)], 3)
    journal.commit([pushed(4, F1)], 4)
    assert obj(1) in journal.objects, "until the device has been asked"
    now = [F1.key, G1.key]
    journal.observe(1, 4, now, {*now, F2.key})
    assert journal.find(F2.key) is not None
    journal.commit([pushed(5, G1)], 5)
    journal.observe(1, 5, now, {*now, F2.key})
    assert journal.find(F2.key) is not None
    journal.observe(1, 5, now, now)
    assert journal.find(F2.key) is None
    assert Journal.parse(journal.dump()) == journal


def test_reverting_takes_an_edit_out() -> None:
    journal = committed(F1, G1)
    journal.commit([pushed(2, reverted=frozenset({1}))], 2)
    assert live(journal) == {obj(2): {G1.key}}
    journal.commit([pushed(3, reverted=frozenset({2}))], 3)
    assert live(journal) == {}


def test_units_do_not_disturb_each_other() -> None:
    journal = committed(F1)
    other = Pushed("b.c", obj(9), "b.o", frozenset({7}), (Edit("h", 7, 0x71),))
    journal.commit([other], 2)
    assert live(journal) == {obj(1): {F1.key}, obj(9): {(7, 0x71)}}


def test_reset_makes_edits_lost_until_they_are_live_again() -> None:
    journal = committed(F1, G1)
    assert journal.observe(2, 0, [])
    assert [entry.keys for entry in journal.lost] == [{F1.key, G1.key}]
    assert journal.live == []
    assert not journal.observe(2, 0, []), "nothing new"
    journal.observe(2, 1, [F1.key])
    assert [entry.keys for entry in journal.lost] == [{G1.key}]
    assert live(journal) == {obj(1): {F1.key}}


def test_power_cycle_with_the_same_boot_count_is_seen_by_the_generation() -> None:
    journal = committed(F1)
    journal.observe(1, 0, [])
    assert [entry.keys for entry in journal.lost] == [{F1.key}]


def test_pushing_the_unit_settles_what_was_lost() -> None:
    journal = committed(F1, G1)
    journal.observe(2, 0, [])
    journal.settle([pushed(5)])
    assert journal.lost == []
    journal = committed(F1, G1)
    journal.observe(2, 0, [])
    journal.commit([pushed(5, F2)], 1)
    assert journal.lost == []
    assert live(journal) == {obj(5): {F2.key}}


def test_rollback_brings_the_object_before_back() -> None:
    journal = committed(F1)
    journal.commit([pushed(2, F2, G1)], 2)
    journal.observe(1, 3, [F1.key])
    assert live(journal) == {obj(1): {F1.key}}
    journal.observe(1, 4, [F2.key, G1.key])  # a second one redoes
    assert live(journal) == {obj(2): {F2.key, G1.key}}
    journal.observe(1, 5, [])
    assert live(journal) == {}
    assert journal.lost == []


def test_another_host_reverting_is_not_a_loss() -> None:
    journal = committed(F1)
    journal.observe(1, 2, [])
    assert (journal.live, journal.lost) == ([], [])


def test_a_host_that_dies_after_the_commit_is_understood_later() -> None:
    journal = committed(F1)
    journal.prepare([pushed(2, F2, G1)])
    reread = Journal.parse(journal.dump())
    reread.observe(1, 2, [F2.key, G1.key])
    assert live(reread) == {obj(2): {F2.key, G1.key}}
    assert reread.pending == []


def test_a_host_that_dies_before_the_commit_leaves_the_old_state() -> None:
    journal = committed(F1)
    journal.prepare([pushed(2, F2, G1)])
    reread = Journal.parse(journal.dump())
    reread.observe(1, 1, [F1.key])
    assert live(reread) == {obj(1): {F1.key}}
    assert reread.find(F2.key) is None


def test_round_trip() -> None:
    journal = committed(F1, G1)
    journal.observe(2, 0, [])
    journal.prepare([pushed(2, F2)])
    assert Journal.parse(journal.dump()) == journal


def test_unknown_slots_of_the_device_are_nobodys_edits() -> None:
    journal = Journal()
    assert journal.observe(1, 4, [(99, 99)])
    assert journal.live == []
    assert journal.find((99, 99)) is None
    assert isinstance(journal.live, list)
    assert UnitEdits("u", obj(1), "s", 1, (F1,)).without({1}).edits == ()


def test_labels_are_kept_while_their_slots_are_there() -> None:
    journal = committed(F1)
    journal.label({"01": ("__aeabi_ldivmod", "libgcc.a(_aeabi_ldivmod.o)")}, ())
    journal.label({"02": ("table", "a.c")}, {"01"})
    again = Journal.parse(journal.dump())
    assert again.labels == {"01": ("__aeabi_ldivmod", "libgcc.a(_aeabi_ldivmod.o)"), "02": ("table", "a.c")}
    again.label({}, {"02"})
    assert set(again.labels) == {"02"}


def test_a_journal_without_labels_is_read() -> None:
    import json

    old = json.loads(committed(F1).dump())
    del old["labels"]
    assert live(Journal.parse(json.dumps(old).encode())) == {obj(1): {F1.key}}
