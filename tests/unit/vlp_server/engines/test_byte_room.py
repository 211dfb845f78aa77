import asyncio

from service_rig import settle
from vlp_server.engines.byte_room import ByteRoom


class Visitors:
    def __init__(self, room):
        self.room, self.inside, self.tasks = room, [], {}

    async def come(self, name, size):
        leave = asyncio.Event()

        async def stay():
            async with self.room.take(size):
                self.inside.append(name)
                await leave.wait()
            self.inside.remove(name)

        self.tasks[name] = asyncio.create_task(stay()), leave
        await settle()

    async def go(self, name):
        task, leave = self.tasks.pop(name)
        leave.set()
        await task
        await settle()

    async def give_up(self, name):
        task, _ = self.tasks.pop(name)
        task.cancel()
        await asyncio.wait({task})
        await settle()


async def test_places_and_bytes_are_bounded_and_nobody_is_overtaken():
    visitors = Visitors(ByteRoom(3, 100))
    for name, size in (("a", 60), ("b", 50), ("c", 1), ("d", 1)):
        await visitors.come(name, size)
    assert visitors.inside == ["a"]  # c and d would fit, and wait behind b
    await visitors.go("a")
    assert visitors.inside == ["b", "c", "d"]
    await visitors.come("e", 1)
    assert "e" not in visitors.inside  # three places
    await visitors.go("c")
    assert "e" in visitors.inside
    for name in ("b", "d", "e"):
        await visitors.go(name)


async def test_what_is_larger_than_the_room_goes_alone():
    visitors = Visitors(ByteRoom(3, 100))
    await visitors.come("a", 1)
    await visitors.come("huge", 1000)
    assert visitors.inside == ["a"]
    await visitors.go("a")
    await visitors.come("b", 1)
    assert visitors.inside == ["huge"]
    await visitors.go("huge")
    assert visitors.inside == ["b"]
    await visitors.go("b")


async def test_who_gives_up_leaves_its_turn_and_its_room():
    visitors = Visitors(ByteRoom(1, 100))
    for name in "abc":
        await visitors.come(name, 10)
    await visitors.give_up("b")
    await visitors.give_up("a")
    assert visitors.inside[-1:] == ["c"]
    await visitors.go("c")


async def test_who_gives_up_in_the_moment_of_being_let_in_loses_no_room():
    room = ByteRoom(1, 100)
    holder = room.take(1)
    await holder.__aenter__()
    waiting = asyncio.create_task(room.take(1).__aenter__())
    await settle()
    await holder.__aexit__(None, None, None)  # its turn has come
    waiting.cancel()
    await asyncio.wait({waiting})
    async with asyncio.timeout(1), room.take(100):
        pass


async def test_who_gives_up_while_another_leaves_loses_no_room():
    room = ByteRoom(1, 100)
    holder = room.take(1)
    await holder.__aenter__()
    waiting = [asyncio.create_task(room.take(1).__aenter__()) for _ in range(2)]
    await settle()
    for one in waiting:
        one.cancel()
    await holder.__aexit__(None, None, None)  # in the same moment
    await asyncio.wait(waiting)
    assert all(one.cancelled() for one in waiting)
    async with asyncio.timeout(1), room.take(100):
        pass
