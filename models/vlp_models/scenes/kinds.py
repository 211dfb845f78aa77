"""The vocabulary of the scenes: kinds of things, their colours and sizes.

Names are single words, so that an answer is one word; the emoji is what the sprite sheet was rendered from.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: its name, its plural, and the character that shows it."""

    name: str
    plural: str
    emoji: str


def _kinds(text: str) -> tuple[Kind, ...]:
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(Kind(name=row[1], plural=row[2] if len(row) > 2 else row[1] + "s", emoji=row[0]) for row in rows)


KINDS = _kinds("""
🐈 cat
🐕 dog
🐎 horse
🐄 cow
🐖 pig
🐑 sheep sheep
🐇 rabbit
🐘 elephant
🦆 duck
🦉 owl
🐧 penguin
🐟 fish fish
🐳 whale
🐙 octopus octopuses
🦀 crab
🐌 snail
🦋 butterfly butterflies
🐝 bee
🐢 turtle
🦒 giraffe
🍎 apple
🍌 banana
🍐 pear
🍓 strawberry strawberries
🍍 pineapple
🥕 carrot
🌽 corncob
🍄 mushroom
🧀 cheese
🍕 pizza
🍩 donut
🎂 cake
🍦 cone
🚗 car
🚌 bus buses
🚲 bicycle
🚂 train
✈ plane
🚀 rocket
⛵ boat
🏠 house
🌲 tree
🌵 cactus cactuses
🌻 flower
⭐ star
🌙 moon
☂ umbrella
👒 hat
👟 shoe
🎸 guitar
🎺 trumpet
🥁 drum
⏰ clock
📷 camera
📱 phone
💡 lamp
🔑 key
🔨 hammer
✂ scissor
📖 book
⚽ ball
🎈 balloon
🎁 gift
👑 crown
🔔 bell
☕ cup
🪑 chair
⚓ anchor
""")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 38),
    "orange": (245, 135, 20),
    "yellow": (240, 214, 30),
    "green": (45, 165, 60),
    "cyan": (30, 195, 205),
    "blue": (45, 75, 225),
    "purple": (135, 45, 185),
    "pink": (250, 120, 190),
}

SIZES = ("small", "large")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def with_article(words: str) -> str:
    """`words` after "a" or "an"."""
    return ("an " if words[0] in "aeiou" else "a ") + words
