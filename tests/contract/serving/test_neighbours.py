"""What one caller does must not change what another gets: over the dummy engine and over onnxruntime."""

import asyncio
import logging
import threading
from dataclasses import replace

import pytest
from service_rig import DUMMY, Rig, picture, settle, tiny_model, until
from tiny_repository import build_graph, publish
from vlp_server.core.loading import LoadedModel
from vlp_server.core.settings import BatchSettings, CacheSettings
from vlp_spec.errors import InferenceError
from vlp_spec.tasks import VqaQuery

WORDS = ("what", "colour", "is", "it", "red", "how", "many")
QUESTIONS = [" ".join(WORDS[: length + 1]) for length in range(7)]
SIZES = [(8, 6), (4, 4), (6, 9), (5, 5), (40, 4), (7, 7), (9, 3)]
BAD_WORDS = {"dummy": ["[nan]", "[fail]", "[poison]"], "onnx": ["broken", "outside"]}
CASES = [(engine, word) for engine, words in BAD_WORDS.items() for word in words]


def make_rig(engine, root):
    """Batches of any mixture of lengths, so that neighbours of every kind meet."""
    if engine == "onnx":
        publish(root)
    model = tiny_model(root) if engine == "onnx" else DUMMY
    mixed = replace(model, batch=BatchSettings(max_padding_waste=1.0))
    return Rig(mixed, cache=CacheSettings(answer_entries=0))


class HeldBatches:
    """Holds a service's batches back, so that a test decides what queues up meanwhile."""

    def __init__(self):
        self.entered, self.go, self.sizes = threading.Semaphore(0), threading.Event(), []
        self.go.set()

    def compute(self, model, items):
        if not self.go.is_set():
            self.entered.release()
            self.go.wait(10)
        self.sizes.append(len(items))
        return self.original(model, items)

    async def wait_entered(self):
        assert await asyncio.to_thread(self.entered.acquire, timeout=5)


@pytest.fixture
def held(monkeypatch):
    made = HeldBatches()
    made.original = LoadedModel.compute
    monkeypatch.setattr(LoadedModel, "compute", lambda model, items: made.compute(model, items))
    return made


def ask(rig, index, question=None):
    image = picture(("red", "green", "blue")[index % 3], SIZES[index % 7])
    return asyncio.create_task(rig.service.vqa(image, [VqaQuery(question or QUESTIONS[index % 7])]))


async def answers_alone(rig, indices):
    """Each on its own, one after another."""
    return [(await ask(rig, index)).results[0] for index in indices]


def same(one, other):
    assert [answer.answer for answer in one.answers] == [answer.answer for answer in other.answers]
    scores = [answer.score for answer in other.answers]
    assert [answer.score for answer in one.answers] == pytest.approx(scores, abs=1e-5)


async def queue_up(rig, held, tasks):
    """One batch held in the engine, everything else of `tasks` behind it."""
    held.go.clear()
    blocker = ask(rig, 0, "how is it")
    await held.wait_entered()
    started = [task() for task in tasks]
    label = next(iter(rig.service.readiness().models))
    await until(lambda: rig.value("vlpserve_queue_items", model=label) == len(started))
    return blocker, started


@pytest.mark.parametrize("engine", ["dummy", "onnx"])
async def test_an_answer_is_the_same_alone_and_in_a_batch(engine, tmp_path, held):
    async with make_rig(engine, tmp_path) as rig:
        alone = await answers_alone(rig, range(7))
        blocker, started = await queue_up(rig, held, [lambda i=i: ask(rig, i) for i in range(7)])
        held.go.set()
        replies = await asyncio.gather(*started)
        await blocker
        for reply, expected in zip(replies, alone, strict=True):
            same(reply.results[0], expected)
        assert max(held.sizes) > 1


@pytest.mark.parametrize(("engine", "word"), CASES)
@pytest.mark.parametrize("place", [0, 3, 7])
async def test_one_bad_item_of_eight_gives_seven_right_answers_and_one_error(engine, word, place, tmp_path, held):
    async with make_rig(engine, tmp_path) as rig:
        image = picture()
        good = [f"{question} is" for question in QUESTIONS]
        alone = [(await rig.service.vqa(image, [VqaQuery(question)])).results[0] for question in good]
        questions = [*good[:place], f"what is {word}", *good[place:]]
        asked = [lambda q=q: asyncio.create_task(rig.service.vqa(image, [VqaQuery(q)])) for q in questions]
        blocker, started = await queue_up(rig, held, asked)
        held.go.set()
        outcomes = await asyncio.gather(*started, return_exceptions=True)
        await blocker
        assert 8 in held.sizes
        assert isinstance(outcomes.pop(place), InferenceError)
        for reply, expected in zip(outcomes, alone, strict=True):
            same(reply.results[0], expected)
        assert (await rig.service.vqa(image, [VqaQuery("what is it")])).results


@pytest.mark.parametrize("engine", ["dummy", "onnx"])
@pytest.mark.parametrize("where", ["queue", "engine"])
async def test_a_neighbour_that_leaves_changes_nothing(engine, where, tmp_path, held):
    async with make_rig(engine, tmp_path) as rig:
        alone = await answers_alone(rig, range(3))
        blocker, started = await queue_up(rig, held, [lambda i=i: ask(rig, i) for i in range(3)])
        leaver = started[1] if where == "queue" else blocker
        leaver.cancel()
        await settle()
        held.go.set()
        outcomes = await asyncio.gather(blocker, *started, return_exceptions=True)
        assert isinstance(outcomes[2 if where == "queue" else 0], asyncio.CancelledError)
        for index in (0, 2):
            same(outcomes[index + 1].results[0], alone[index])


async def test_weights_that_were_corrupted_and_still_run_never_become_ready(tmp_path, caplog):
    publish(tmp_path, graph=build_graph(scale=1.5))
    with caplog.at_level(logging.CRITICAL):
        async with Rig(tiny_model(tmp_path)) as rig:
            readiness = rig.service.readiness()
            assert not readiness.ready
            assert "canary: output 'logits' is off by" in readiness.models["tiny"]
            assert rig.value("vlpserve_model_ready", model="tiny") == 0
