import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_pipeline.pipeline import Item
from vlp_server.core.scheduler import BatchScheduler
from vlp_server.core.settings import AdmissionSettings, BatchSettings
from vlp_spec.errors import OverloadedError, TooLargeError
from vlp_spec.tasks import Lane

INTERACTIVE, BULK = Lane.INTERACTIVE, Lane.BULK


def item(text=4, patches=4):
    return Item({"input_ids": np.zeros(text, np.int32)}, {"text": text, "patches": patches})


def make(admission=None, **batch):
    return BatchScheduler(BatchSettings(**batch), admission or AdmissionSettings())


def deadlines(batch):
    return [queued.deadline for queued in batch.items]


def test_an_empty_queue_gives_no_batch():
    assert make().next_batch() is None


def test_everything_that_waits_goes_into_one_batch_at_once():
    scheduler = make()
    for _ in range(5):
        scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    assert len(scheduler.next_batch().items) == 5
    assert (scheduler.queued_items, scheduler.queued_cost) == (0, 0)


def test_earliest_deadline_goes_first_and_ties_by_arrival():
    scheduler = make(max_items=2)
    late = scheduler.add(item(), INTERACTIVE, 9.0, 0.0)
    first = scheduler.add(item(), INTERACTIVE, 5.0, 0.0)
    second = scheduler.add(item(), INTERACTIVE, 5.0, 0.0)
    assert scheduler.next_batch().items == (first, second)
    assert scheduler.next_batch().items == (late,)


def test_an_item_without_deadline_gets_the_default_and_cannot_starve():
    scheduler = make(AdmissionSettings(default_timeout_s=30.0), max_items=1)
    scheduler.add(item(), INTERACTIVE, None, 0.0)
    scheduler.add(item(), INTERACTIVE, 31.0, 0.0)
    assert deadlines(scheduler.next_batch()) == [30.0]


def test_interactive_items_go_before_bulk_and_bulk_fills_up():
    scheduler = make(max_items=3)
    for lane in (BULK, BULK, INTERACTIVE, INTERACTIVE):
        scheduler.add(item(), lane, 10.0, 0.0)
    assert [queued.lane for queued in scheduler.next_batch().items] == [INTERACTIVE, INTERACTIVE, BULK]


def test_bulk_leads_every_nth_batch_under_constant_interactive_load():
    scheduler = make(max_items=1, bulk_every=3)
    for _ in range(20):
        scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
        scheduler.add(item(), BULK, 100.0, 0.0)
    lanes = [scheduler.next_batch().items[0].lane for _ in range(9)]
    assert lanes == [INTERACTIVE, INTERACTIVE, BULK] * 3


def test_the_area_budget_counts_padding():
    scheduler = make(max_text_area=40, max_padding_waste=1.0)
    for text in (10, 2, 2, 2, 2):
        scheduler.add(item(text=text), INTERACTIVE, 10.0, 0.0)
    batch = scheduler.next_batch()
    assert len(batch.items) == 4  # 4 x 10 text tokens, though only 16 are real
    assert scheduler.queued_items == 1


def test_items_of_other_lengths_wait_for_a_batch_of_their_own():
    scheduler = make(max_padding_waste=0.2)
    for index in range(6):
        scheduler.add(item(text=4, patches=100 if index % 2 else 10), INTERACTIVE, 10.0 + index, 0.0)
    first, second = scheduler.next_batch(), scheduler.next_batch()
    assert deadlines(first) == [10.0, 12.0, 14.0]
    assert deadlines(second) == [11.0, 13.0, 15.0]
    assert first.padding_waste == second.padding_waste == 0.0


def test_padding_waste_is_the_share_of_the_padded_area():
    scheduler = make(max_padding_waste=0.5)
    scheduler.add(item(text=10, patches=10), INTERACTIVE, 1.0, 0.0)
    scheduler.add(item(text=5, patches=5), INTERACTIVE, 2.0, 0.0)
    batch = scheduler.next_batch()
    assert (batch.real_area, batch.padded_area, batch.padding_waste) == (30, 40, 0.25)


def test_an_item_over_the_whole_budget_is_refused_at_once():
    scheduler = make(max_patch_area=100)
    with pytest.raises(TooLargeError, match="101 patches"):
        scheduler.add(item(patches=101), INTERACTIVE, 10.0, 0.0)
    scheduler.add(item(patches=100), INTERACTIVE, 10.0, 0.0)
    assert len(scheduler.next_batch().items) == 1


def test_a_full_queue_refuses_with_the_time_that_it_needs_to_drain():
    scheduler = make(AdmissionSettings(max_queue_cost=20))
    scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    scheduler.drain_rate.observe(cost=4, seconds=2.0)
    with pytest.raises(OverloadedError) as caught:
        scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    assert caught.value.retry_after_s == pytest.approx(8.0)  # 16 wait, 2 a second


def test_an_empty_queue_takes_an_item_over_its_bound():
    scheduler = make(AdmissionSettings(max_queue_cost=4))
    scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    assert scheduler.queued_items == 1


def test_bulk_may_fill_only_its_share_of_the_queue():
    scheduler = make(AdmissionSettings(max_queue_cost=32, bulk_share=0.5))
    for _ in range(2):
        scheduler.add(item(), BULK, 10.0, 0.0)
    with pytest.raises(OverloadedError):
        scheduler.add(item(), BULK, 10.0, 0.0)
    scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    assert scheduler.queued_items == 3


def test_expired_and_removed_items_leave_without_a_batch():
    scheduler = make()
    expired = scheduler.add(item(), INTERACTIVE, 5.0, 0.0)
    gone = scheduler.add(item(), BULK, 9.0, 0.0)
    kept = scheduler.add(item(), INTERACTIVE, 9.0, 0.0)
    assert scheduler.drop_expired(5.0) == [expired]
    assert scheduler.remove(gone)
    assert not scheduler.remove(gone)
    assert not scheduler.remove(expired)
    assert scheduler.next_batch().items == (kept,)
    assert scheduler.queued_cost == 0


def test_the_graph_may_take_fewer_items_than_the_settings():
    scheduler = BatchScheduler(BatchSettings(max_items=8), AdmissionSettings(), max_items=2)
    for _ in range(3):
        scheduler.add(item(), INTERACTIVE, 10.0, 0.0)
    assert len(scheduler.next_batch().items) == 2


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60), st.sampled_from(Lane), st.floats(0, 50)), max_size=40),
    st.integers(1, 8),
    st.floats(0, 1),
)
def test_every_item_comes_once_and_no_batch_breaks_a_bound(rows, max_items, max_waste):
    scheduler = make(max_items=max_items, max_text_area=80, max_patch_area=120, max_padding_waste=max_waste)
    added = [scheduler.add(item(t, p), lane, deadline, 0.0) for t, p, lane, deadline in rows]
    seen = []
    while (batch := scheduler.next_batch()) is not None:
        seen += batch.items
        assert len(batch.items) <= max_items
        for axis, budget in (("text", 80), ("patches", 120)):
            assert max(queued.item.sizes[axis] for queued in batch.items) * len(batch.items) <= budget
        assert batch.padding_waste <= max_waste + 1e-9
    assert sorted(map(id, seen)) == sorted(map(id, added))
    assert scheduler.queued_cost == 0


def test_an_item_of_one_fixed_size_costs_its_bytes_in_patches_and_wastes_nothing():
    pixels = Item({"pixels": np.zeros((64, 64, 3), dtype=np.uint8)}, {}, "image")
    scheduler = BatchScheduler(BatchSettings(), AdmissionSettings(max_queue_cost=8))
    queued = [scheduler.add(pixels, Lane.INTERACTIVE, None, 0.0) for _ in range(2)]
    assert [one.cost for one in queued] == [4, 4]
    with pytest.raises(OverloadedError):
        scheduler.add(pixels, Lane.INTERACTIVE, None, 0.0)
    batch = scheduler.next_batch()
    assert batch is not None
    assert (len(batch.items), batch.cost, batch.padding_waste) == (2, 8, 0.0)


def test_several_texts_in_one_item_count_their_padded_tokens():
    item = Item({"ids": np.zeros((4, 6), np.int32)}, {"texts": 4, "text": 6}, "question")
    scheduler = BatchScheduler(BatchSettings(max_text_area=50), AdmissionSettings())
    queued = [scheduler.add(item, Lane.INTERACTIVE, None, 0.0) for _ in range(5)]
    assert [one.cost for one in queued] == [24] * 5
    batch = scheduler.next_batch()
    assert batch is not None
    assert len(batch.items) == 2
    with pytest.raises(TooLargeError):
        scheduler.add(Item({}, {"texts": 9, "text": 6}, "question"), Lane.INTERACTIVE, None, 0.0)
