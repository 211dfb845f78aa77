import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from number_decoder import POISON, START, NumberDecoder, plan
from vlp_server.core.decoder_loop import DecoderLoop, Written
from vlp_server.core.running_texts import READ_TOKENS, AnswersToWeigh, RunningTexts, TextToWrite
from vlp_server.core.scheduler import DropReason
from vlp_server.core.settings import AdmissionSettings
from vlp_server.core.urgency import Urgency
from vlp_server.core.waiting_texts import WaitingTexts
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, OverloadedError, UnavailableError
from vlp_spec.tasks import Lane

HASTY = Urgency(Lane.INTERACTIVE, 1e12)


class Observer:
    """Keeps a trace: who joined and left in which round."""

    def __init__(self):
        self.rounds, self.dropped, self.failed, self.crashes, self.waiting = [], [], 0, 0, []

    def round_done(self, joined, left, rows, tokens):
        self.rounds.append((list(joined), list(left), rows))

    def waiting_changed(self, items, cost):
        self.waiting.append(items)

    def text_dropped(self, reason):
        self.dropped.append(reason)

    def round_failed(self, texts, failed):
        self.failed += failed

    def worker_crashed(self):
        self.crashes += 1

    def joined_in(self, text):
        return next(number for number, (joined, _, _) in enumerate(self.rounds) if text in joined)

    def left_in(self, text):
        return next(number for number, (_, left, _) in enumerate(self.rounds) if text in left)


class Rig:
    def __init__(self, *, max_rows=8, admission=None, clock=None, masked=False):
        self.decoder, self.observer = NumberDecoder(masked=masked), Observer()
        running = RunningTexts(self.decoder.shape, self.decoder.run)
        queues = tuple(WaitingTexts(admission or AdmissionSettings(), bulk_every=3) for _ in range(2))
        settings = {} if clock is None else {"clock": clock}
        self.loop = DecoderLoop("test", running, queues, self.observer, max_rows=max_rows, **settings)

    async def __aenter__(self):
        self.loop.start()
        return self

    async def __aexit__(self, *_):
        self.decoder.gated = False
        for _ in range(50):
            self.decoder.go.release()
        await self.loop.close()

    def text(self, number, **wanted):
        return TextToWrite(self.decoder.looks_at(number), np.array([START], np.int32), plan(**wanted))

    def alone(self, text):
        return NumberDecoder(masked=self.decoder.shape.masked).write_alone(text.looked_at, text.beginning, text.plan)

    async def write(self, text, *, lane=Lane.INTERACTIVE, deadline=1e12):
        async with aclosing(self.loop.write(text, Urgency(lane, deadline))) as news:
            async for one in news:
                if isinstance(one, Written):
                    return one
        raise AssertionError("no end")

    def weigh(self, count):
        return self.loop.log_probabilities(AnswersToWeigh(self.decoder.looks_at(4, 5), *answers(count)), HASTY)

    async def entered(self):
        assert await asyncio.to_thread(self.decoder.entered.acquire, timeout=5)


def long(number=3, tokens=26):
    return {"number": number, "max_tokens": tokens, "min_tokens": tokens}


async def test_a_request_joins_at_a_later_step_and_neither_text_is_changed():
    async with Rig() as rig:
        rig.decoder.gated = True
        first, second = rig.text(**long(3)), rig.text(**long(9, 6))
        writing = asyncio.create_task(rig.write(first))
        for _ in range(5):
            await rig.entered()
            rig.decoder.go.release()
        rig.decoder.gated = False
        joining = asyncio.create_task(rig.write(second))
        await asyncio.sleep(0.01)
        for _ in range(3):
            rig.decoder.go.release()
        written = [await writing, await joining]
    trace = rig.observer
    assert trace.joined_in(first) < trace.joined_in(second) < trace.left_in(second) < trace.left_in(first)
    assert [one.texts for one in written] == [rig.alone(first), rig.alone(second)]
    assert written[1].batch_rows == 2


async def test_tokens_come_as_they_are_settled():
    async with Rig() as rig:
        text, pieces = rig.text(**long(4, 10)), []
        async with aclosing(rig.loop.write(text, Urgency(Lane.INTERACTIVE, 1e12))) as news:
            async for one in news:
                pieces.append(one)
    *tokens, written = pieces
    assert [len(one) for one in tokens] == [1] * 10
    assert tuple(token for one in tokens for token in one) == written.texts[0].tokens


async def test_a_cancelled_request_frees_its_place_at_the_next_step():
    async with Rig(max_rows=1) as rig:
        rig.decoder.gated = True
        first, second = rig.text(**long(3, 400)), rig.text(**long(9, 4))
        writing = asyncio.create_task(rig.write(first))
        await rig.entered()
        joining = asyncio.create_task(rig.write(second))
        await asyncio.sleep(0.01)
        rig.decoder.go.release()
        await rig.entered()  # a step of the first one is under way
        writing.cancel()
        await asyncio.sleep(0.01)
        rig.decoder.gated = False
        rig.decoder.go.release()
        written = await joining
    trace = rig.observer
    assert trace.left_in(first) == trace.joined_in(second) == 2
    assert written.texts == rig.alone(second)
    assert trace.dropped == [DropReason.CANCELLED]


async def test_who_leaves_while_waiting_never_joins():
    async with Rig(max_rows=1) as rig:
        rig.decoder.gated = True
        first, second = rig.text(**long(3)), rig.text(**long(9))
        writing = asyncio.create_task(rig.write(first))
        await rig.entered()
        waiting = asyncio.create_task(rig.write(second))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        rig.decoder.gated = False
        rig.decoder.go.release()
        await writing
    assert all(second not in joined for joined, _, _ in rig.observer.rounds)
    assert rig.observer.waiting[-1] == 0


async def test_more_rows_than_there_is_room_for_are_written_alone():
    async with Rig(max_rows=2) as rig:
        small, wide = rig.text(**long(3, 6)), rig.text(5, num_beams=4)
        written = await asyncio.gather(rig.write(small), rig.write(wide))
    assert [one.texts for one in written] == [rig.alone(small), rig.alone(wide)]
    assert rig.observer.joined_in(wide) > rig.observer.left_in(small)


async def test_a_deadline_ends_a_text_under_way_and_one_that_waits():
    now = [0.0]
    async with Rig(max_rows=1, clock=lambda: now[0]) as rig:
        rig.decoder.gated = True
        first, second = rig.text(**long(3, 400)), rig.text(**long(9))
        writing = asyncio.create_task(rig.write(first, deadline=5.0))
        await rig.entered()
        waiting = asyncio.create_task(rig.write(second, deadline=4.0))
        await asyncio.sleep(0.01)
        now[0] = 6.0
        rig.decoder.gated = False
        rig.decoder.go.release()
        for task in (writing, waiting):
            with pytest.raises(DeadlineError):
                await task
    assert rig.observer.dropped == [DropReason.DEADLINE] * 2


async def test_a_poisoned_text_fails_alone():
    async with Rig() as rig:
        good, bad = rig.text(3), rig.text(POISON)
        found = await asyncio.gather(rig.write(good), rig.write(bad), return_exceptions=True)
    assert found[0].texts == rig.alone(good)
    assert isinstance(found[1], InferenceError)
    assert rig.observer.failed == 1


async def test_a_fault_of_ours_loses_a_round_and_not_the_loop():
    async with Rig() as rig:
        rig.decoder.fault = InternalError(detail="shape")
        with pytest.raises(InternalError):
            await rig.write(rig.text(3))
        rig.decoder.fault = None
        text = rig.text(4)
        assert (await rig.write(text)).texts == rig.alone(text)
    assert rig.observer.crashes == 1


async def test_distrust_fails_all_until_trust():
    async with Rig(max_rows=1) as rig:
        rig.decoder.gated = True
        tasks = [asyncio.create_task(rig.write(rig.text(**long(number)))) for number in (3, 4)]
        await rig.entered()
        rig.loop.distrust(UnavailableError("off", retry_after_s=2.0))
        rig.decoder.gated = False
        rig.decoder.go.release()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, UnavailableError)
        with pytest.raises(UnavailableError):
            await rig.write(rig.text(5))
        rig.loop.trust()
        text = rig.text(5)
        assert (await rig.write(text)).texts == rig.alone(text)


async def test_closing_ends_texts_under_way():
    async with Rig(max_rows=1) as rig:
        rig.decoder.gated = True
        tasks = [asyncio.create_task(rig.write(rig.text(**long(number)))) for number in (3, 4)]
        await rig.entered()
        await rig.loop.close()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, UnavailableError)
        with pytest.raises(UnavailableError):
            await rig.write(rig.text(5))


async def test_too_much_that_waits_is_refused_with_a_time():
    async with Rig(max_rows=1, admission=AdmissionSettings(max_queue_cost=60)) as rig:
        rig.decoder.gated = True
        tasks = [asyncio.create_task(rig.write(rig.text(**long(3))))]
        await rig.entered()
        tasks += [asyncio.create_task(rig.write(rig.text(**long(number)))) for number in (4, 5)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as refused:
            await rig.write(rig.text(**long(6)))
        assert refused.value.retry_after_s >= 1
        rig.decoder.gated = False
        rig.decoder.go.release()
        await asyncio.gather(*tasks)


async def test_bulk_texts_wait_behind_hasty_ones_but_not_for_ever():
    async with Rig(max_rows=1) as rig:
        rig.decoder.gated = True
        first = asyncio.create_task(rig.write(rig.text(**long(3, 2))))
        await rig.entered()
        bulk = rig.text(**long(4, 2))
        hasty = [rig.text(**long(number, 2)) for number in (5, 6, 7, 8)]
        tasks = [asyncio.create_task(rig.write(bulk, lane=Lane.BULK))]
        tasks += [asyncio.create_task(rig.write(text)) for text in hasty]
        await asyncio.sleep(0.01)
        rig.decoder.gated = False
        rig.decoder.go.release()
        await asyncio.gather(first, *tasks)
    order = sorted([bulk, *hasty], key=rig.observer.joined_in)
    assert order == [hasty[0], hasty[1], bulk, hasty[2], hasty[3]]


async def test_answers_are_weighed_between_the_steps_of_texts():
    async with Rig(masked=True) as rig:
        text = TextToWrite(rig.decoder.looks_at(3, 6), np.array([START], np.int32), plan(25, min_tokens=25))
        writing = asyncio.create_task(rig.write(text))
        ids, lengths = answers(400)
        lengths[::7] = 2  # the order in which they are weighed is not that in which they come
        ids[::7, 1:] = [2, 0]
        found = await rig.loop.log_probabilities(AnswersToWeigh(rig.decoder.looks_at(4, 5), ids, lengths), HASTY)
        assert (await writing).texts == rig.alone(text)
    assert found.shape == (400,)
    by_answer = {}
    for row, value in zip(ids.tolist(), found, strict=True):
        assert by_answer.setdefault(tuple(row), value) == value
    assert len(set(by_answer.values())) == 21
    assert max(rows * tokens for _, rows, tokens in rig.decoder.calls) <= READ_TOKENS
    assert rig.observer.waiting[-1] == 0


async def test_a_closed_list_lets_others_write_between_its_parts():
    async with Rig(masked=True) as rig:
        rig.decoder.gated = True
        weighing = [
            asyncio.create_task(
                rig.loop.log_probabilities(AnswersToWeigh(rig.decoder.looks_at(4, 5), *answers(20)), HASTY)
            )
            for _ in range(8)
        ]
        await rig.entered()
        text = TextToWrite(rig.decoder.looks_at(3, 6), np.array([START], np.int32), plan(4, min_tokens=4))
        writing = asyncio.create_task(rig.write(text))
        await asyncio.sleep(0.01)
        rig.decoder.gated = False
        rig.decoder.go.release()
        await writing
        done = sum(task.done() for task in weighing)
        await asyncio.gather(*weighing)
    assert done <= 5  # one a round, and the text took four


async def test_weighing_that_nobody_waits_for_is_not_done():
    async with Rig(masked=True) as rig:
        rig.decoder.gated = True
        tasks = [asyncio.create_task(rig.weigh(3)) for _ in range(9)]
        await rig.entered()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rig.decoder.gated = False
        rig.decoder.go.release()
        await rig.loop.run_alone(lambda: None)
        assert len(rig.decoder.calls) == 1
    assert rig.observer.dropped == [DropReason.CANCELLED] * 8


async def test_distrust_and_close_reach_those_whose_answers_are_weighed():
    async with Rig(masked=True) as rig:
        rig.decoder.gated = True
        tasks = [asyncio.create_task(rig.weigh(3)) for _ in range(2)]
        await rig.entered()
        rig.loop.distrust(UnavailableError("off", retry_after_s=2.0))
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, UnavailableError)
        rig.loop.trust()
        late = asyncio.create_task(rig.weigh(3))
        await asyncio.sleep(0.01)
        await rig.loop.close()
        with pytest.raises(UnavailableError, match="stopping"):
            await late
    assert rig.observer.dropped == [DropReason.DISTRUSTED] * 2 + [DropReason.CLOSED]


async def test_a_text_that_was_done_before_distrust_is_not_handed_out_after_it():
    async with Rig() as rig:
        stream = rig.loop.write(rig.text(3), HASTY)
        await anext(stream)
        while rig.loop._running:
            await asyncio.sleep(0.001)
        rig.loop.distrust(UnavailableError("off", retry_after_s=2.0))
        with pytest.raises(UnavailableError):
            await anext(stream)


async def test_a_wide_request_gets_its_turn_among_narrow_ones():
    async with Rig(max_rows=4) as rig:
        narrow = [rig.text(**long(number, 12)) for number in range(3, 9)]
        wide = rig.text(9, num_beams=4)
        tasks = [asyncio.create_task(rig.write(text)) for text in (*narrow[:4], wide, *narrow[4:])]
        await asyncio.gather(*tasks)
    assert rig.observer.joined_in(wide) < rig.observer.joined_in(narrow[5])


async def test_beginnings_of_like_lengths_are_read_together():
    async with Rig() as rig:
        lengths = (1, 2, 700, 1, 600, 3)
        texts = [
            TextToWrite(rig.decoder.looks_at(3), np.full(length, START, np.int32), plan(2, min_tokens=2))
            for length in lengths
        ]
        written = await asyncio.gather(*(rig.write(text) for text in texts))
    assert [one.texts for one in written] == [rig.alone(text) for text in texts]
    read = [(batch, tokens) for batch, _, tokens in rig.decoder.calls if tokens > 1]
    assert (1, 700) in read
    assert (1, 600) in read
    assert max(batch * tokens for batch, tokens in read) <= READ_TOKENS


def answers(count):
    """Closed lists of one word each, as the decoder reads them."""
    ids = np.tile(np.array([[START, 5, 2]], np.int32), (count, 1))
    ids[:, 1] = np.arange(count) % 20 + 3
    return ids, np.full(count, 3, np.int32)
