"""Whole tasks that are done where the model lies: what is asked there, what is kept, and what is shared."""

import asyncio
import json
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from service_rig import settle
from vlp_server.core.answer_cache import AnswerCache
from vlp_server.core.metrics import Metrics
from vlp_server.core.records import CaptionPiece
from vlp_server.core.remote_task_flow import RemoteTaskFlow
from vlp_server.core.settings import CacheSettings
from vlp_server.core.urgency import Urgency
from vlp_server.engines.task_wire import result_json
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, InvalidImageError, UnavailableError
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    ClassifyQuery,
    Decoding,
    EntailmentQuery,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    Lane,
    MatchQuery,
    MatchResult,
    ReasoningQuery,
    ReasoningResult,
    ScoredAnswer,
    ScoredBox,
    ScoredCaption,
    ScoredLabel,
    Task,
    VqaQuery,
    VqaResult,
)

URGENCY = Urgency(Lane.BULK, deadline=20.0)
CAPTION = CaptionResult((ScoredCaption("a red cat", 0.5),))
PLAIN, DRAWN = CaptionQuery(), CaptionQuery(decoding=Decoding(temperature=1.0))


class There:
    """Who does whole tasks; its answers are set by the test."""

    def __init__(self):
        self.calls, self.terms, self.answer, self.news = [], [], lambda call: b"{}", []
        self.go, self.closed = asyncio.Event(), False
        self.go.set()

    async def ask(self, call, terms):
        self.calls.append(call)
        self.terms.append(terms)
        await self.go.wait()
        answer = self.answer(call)
        return answer if isinstance(answer, list) else [answer]

    async def stream(self, call, terms):
        self.calls.append(call)
        self.terms.append(terms)
        try:
            for one in self.news:
                await asyncio.sleep(0)
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.closed = True


class Rig:
    def __init__(self, entries=100):
        self.there, self.now = There(), 12.0
        self.answers = AnswerCache(CacheSettings(answer_entries=entries), Metrics(), lambda: self.now)
        self.flow = RemoteTaskFlow(self.answers, SimpleNamespace(), lambda: self.now)
        deployment = SimpleNamespace(name="m", version=3)
        self.loaded = SimpleNamespace(digest="d", tasks_there=self.there, deployment=deployment, label="m@3")
        self.model = SimpleNamespace(loaded=self.loaded)

    async def ask(self, *queries, task=Task.VQA, pictures=(b"p",)):
        return await self.flow.answer(task, self.model, pictures, queries, URGENCY)

    async def streamed(self, query=PLAIN):
        async with aclosing(self.flow.stream_caption(self.model, b"p", query, URGENCY)) as news:
            return [one async for one in news]


@pytest.fixture
def rig():
    return Rig()


def vqa(call):
    """The question is the answer."""
    return [result_json(VqaResult((ScoredAnswer(text, 0.5),))) for text in call.texts]


SAID = {
    Task.VQA: (VqaQuery("q", 3, ("a", "b")), "q", {"top_k": 3, "answers": ["a", "b"]}, VqaResult(())),
    Task.MATCH: (MatchQuery("t"), "t", {}, MatchResult(0.5)),
    Task.ENTAILMENT: (EntailmentQuery("h"), "h", {}, EntailmentResult((ScoredLabel("neutral", 0.9),))),
    Task.REASONING: (ReasoningQuery("s"), "s", {}, ReasoningResult(0.25)),
    Task.GROUNDING: (GroundingQuery("p", 2), "p", {"top_k": 2}, GroundingResult((ScoredBox((0, 0, 1, 1), 1.0),))),
}


@pytest.mark.parametrize("task", SAID)
async def test_a_task_goes_there_as_it_was_asked(rig, task):
    query, text, options, result = SAID[task]
    rig.there.answer = lambda call: result_json(result)
    pictures = (b"left", b"right") if task is Task.REASONING else (b"p",)
    answers, timings = await rig.ask(query, task=task, pictures=pictures)
    assert answers == [result]
    (call,) = rig.there.calls
    assert (call.task, call.model, call.version, call.images) == (task, "m", 3, pictures)
    assert list(call.texts) == [text]
    assert json.loads(json.dumps(call.options)) == options
    ((timeout_s, lane),) = [(terms.timeout_s, terms.lane) for terms in rig.there.terms]
    assert (timeout_s, lane) == (8.0, Lane.BULK)
    assert (timings.cached, timings.batch_items) == (0, 1)


async def test_a_query_that_has_no_text_is_a_fault_of_ours(rig):
    with pytest.raises(InternalError):
        await rig.ask(ClassifyQuery(("a",)))


async def test_a_deadline_that_has_passed_leaves_a_moment_and_no_unbounded_call(rig):
    rig.now, rig.there.answer = 99.0, vqa
    await rig.ask(VqaQuery("a"))
    assert 0 < rig.there.terms[0].timeout_s < 0.01


async def test_only_what_was_not_kept_is_asked_and_answers_keep_their_places(rig):
    rig.there.answer = vqa
    await rig.ask(VqaQuery("b"))
    answers, timings = await rig.ask(VqaQuery("a"), VqaQuery("b"), VqaQuery("c"))
    assert [one.answers[0].answer for one in answers] == ["a", "b", "c"]
    assert timings.cached == 1
    assert [list(call.texts) for call in rig.there.calls] == [["b"], ["a", "c"]]
    await rig.ask(VqaQuery("b"), pictures=(b"another",))
    assert len(rig.there.calls) == 3


async def test_a_picture_travels_once_for_all_that_is_asked_alike(rig):
    rig.there.answer = vqa
    queries = [VqaQuery(f"q{number}", 1 + number % 2) for number in range(100)]
    answers, timings = await rig.ask(*queries, VqaQuery("q0", 1))
    assert [one.answers[0].answer for one in answers] == [*(query.question for query in queries), "q0"]
    assert [(call.options["top_k"], len(call.texts)) for call in rig.there.calls] == [(1, 50), (2, 50)]
    assert timings.batch_items == 50


async def test_a_query_that_fails_takes_none_with_it(rig):
    def poisoned(call):
        return _raise(InferenceError("bad")) if "bad" in call.texts else vqa(call)

    rig.there.answer = poisoned
    joined = asyncio.create_task(rig.ask(*(VqaQuery(text) for text in ("a", "b", "bad", "c"))))
    await asyncio.sleep(0)
    other = asyncio.create_task(rig.ask(VqaQuery("a")))
    with pytest.raises(InferenceError):
        await joined
    (answer,), _ = await other
    assert answer.answers[0].answer == "a"


async def test_a_bad_picture_is_not_sent_again_for_each_question(rig):
    rig.there.answer = lambda call: _raise(InvalidImageError("no picture"))
    with pytest.raises(InvalidImageError):
        await rig.ask(*(VqaQuery(str(number)) for number in range(10)))
    assert len(rig.there.calls) == 1


async def test_equal_requests_at_a_time_share_one_call(rig):
    rig.there.answer = vqa
    rig.there.go.clear()
    asked = [asyncio.create_task(rig.ask(VqaQuery("a"))) for _ in range(3)]
    await settle()
    assert len(rig.there.calls) == 1
    rig.there.go.set()
    for one in asked:
        (answer,), _ = await one
        assert answer.answers[0].answer == "a"
    assert len(rig.there.calls) == 1


async def test_a_task_that_was_late_there_before_its_deadline_here_is_not_asked_for_again(rig):
    def late(call):
        raise DeadlineError("the deadline passed while the request waited for the model")

    rig.there.answer = late
    with pytest.raises(DeadlineError):
        await rig.ask(VqaQuery("a"))
    assert len(rig.there.calls) == 1


async def test_who_joined_one_that_was_late_asks_for_itself(rig):
    rig.there.go.clear()
    asked = [asyncio.create_task(rig.ask(VqaQuery("a"))) for _ in range(3)]
    await settle()
    rig.there.answer = lambda call: vqa(call) if len(rig.there.calls) > 1 else _raise(DeadlineError("late"))
    rig.there.go.set()
    with pytest.raises(DeadlineError):
        await asked[0]
    for one in asked[1:]:
        (answer,), _ = await one
        assert answer.answers[0].answer == "a"
    assert len(rig.there.calls) == 2


def _raise(error):
    raise error


async def test_the_first_error_is_the_requests_and_nothing_of_it_is_kept(rig):
    def broken(call):
        raise UnavailableError("gone")

    rig.there.answer = broken
    with pytest.raises(UnavailableError, match="gone"):
        await rig.ask(VqaQuery("a"), VqaQuery("b"))
    rig.there.answer = vqa
    _, timings = await rig.ask(VqaQuery("a"), VqaQuery("b"))
    assert timings.cached == 0


async def test_an_answer_that_was_begun_before_the_model_was_distrusted_is_not_kept(rig):
    rig.there.answer = vqa
    rig.there.go.clear()
    asked = asyncio.create_task(rig.ask(VqaQuery("a")))
    await settle()
    rig.answers.forget_model("d")
    rig.there.go.set()
    await asked
    _, timings = await rig.ask(VqaQuery("a"))
    assert timings.cached == 0


@pytest.mark.parametrize("results", [[], [b"{}", b"{}"], [b"nothing"], [b"{}"]])
async def test_results_that_are_none_or_too_many_are_a_fault_of_ours(rig, results):
    rig.there.answer = lambda call: results
    with pytest.raises(InternalError):
        await rig.ask(VqaQuery("a"))


async def test_an_engine_that_does_no_tasks_is_a_fault_of_ours(rig):
    rig.loaded.tasks_there = None
    with pytest.raises(InternalError) as caught:
        await rig.ask(VqaQuery("a"))
    assert "m@3" in caught.value.detail


async def test_a_caption_is_kept_where_it_would_be_the_same_again(rig):
    rig.there.answer = lambda call: result_json(CAPTION)
    for query, calls in ((CaptionQuery("a red"), 1), (DRAWN, 2)):
        rig.there.calls.clear()
        got = [await rig.flow.caption(rig.model, b"p", query, URGENCY) for _ in range(2)]
        assert [result for result, _ in got] == [CAPTION, CAPTION]
        assert len(rig.there.calls) == calls
        assert got[1][1].cached == 2 - calls
        assert list(rig.there.calls[0].texts) == [query.prompt]
        assert "stream" not in rig.there.calls[0].options


async def test_a_streamed_caption_comes_in_pieces_and_is_given_again_whole(rig):
    rig.there.news = ["a red", " cat", result_json(CAPTION)]
    first, second, (result, timings) = await rig.streamed()
    assert [first, second] == [CaptionPiece("a red"), CaptionPiece(" cat")]
    assert (result, timings.cached) == (CAPTION, 0)
    assert rig.there.calls[0].options["stream"] is True
    piece, (again, timings) = await rig.streamed()
    assert (piece, again, timings.cached) == (CaptionPiece("a red cat"), CAPTION, 1)
    assert len(rig.there.calls) == 1
    whole, _ = await rig.flow.caption(rig.model, b"p", CaptionQuery(), URGENCY)
    assert whole == CAPTION
    assert len(rig.there.calls) == 1


async def test_what_is_drawn_is_streamed_anew(rig):
    rig.there.news = ["a", result_json(CAPTION)]
    await rig.streamed(DRAWN)
    await rig.streamed(DRAWN)
    assert len(rig.there.calls) == 2


async def test_a_stream_that_is_left_is_closed_there(rig):
    rig.there.news = ["a", "b", result_json(CAPTION)]
    async with aclosing(rig.flow.stream_caption(rig.model, b"p", CaptionQuery(), URGENCY)) as news:
        assert await anext(news) == CaptionPiece("a")
    assert rig.there.closed


async def test_a_stream_that_breaks_off_leaves_nothing_kept(rig):
    rig.there.news = ["a", UnavailableError("gone")]
    with pytest.raises(UnavailableError, match="gone"):
        await rig.streamed()
    rig.there.news = ["a", result_json(CAPTION)]
    _, (_, timings) = await rig.streamed()
    assert timings.cached == 0
