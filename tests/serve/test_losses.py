"""What Redis did between two reads of a stream, played at random and in one transaction:
XADD, XTRIM, XDEL, DEL, in any order, with ids of all kinds. Whenever a gap has a number, it
is the right one; what was lost is said; what is there comes. BOND_LOSS_SEED plays one again,
BOND_LOSS_PLAYS more of them (40,000 take a minute)."""

import json
import os
import random

import pytest

from told import gaps, told

PLAYS = int(os.environ.get("BOND_LOSS_PLAYS", 250))
LIFE_IS_LONG = 64  # src/tail/loss.h: below it no number is given


class Play:
    """One transaction on one stream, and a record of what it does, kept without looking at
    Redis. `there` is what the stream holds, oldest first, as (id, data)."""

    def __init__(self, chance, key, there, top):
        self.chance, self.key = chance, key
        self.there, self.top = list(there), top  # top: the highest id of this life
        self.last = top  # the event that the broker had last
        self.added, self.taken_back, self.lives = [], set(), 0
        self.commands = []

    def do(self, *command):
        self.commands.append(command)

    def add(self, data):
        ms, seq = self.top
        id_ = self.chance.choice([(ms, seq + 1), (ms + 1, 0), (ms + self.chance.randint(1, 9), 7)])
        maxlen = self.chance.choice([None, None, None, 1, 3])
        bound = ("MAXLEN", maxlen) if maxlen else ()
        self.do("XADD", self.key, *bound, "%d-%d" % id_, "data", json.dumps(data))
        self.top = id_
        self.there.append((id_, data))
        self.added.append((id_, data))
        if maxlen:
            self.there = self.there[-maxlen:]

    def trim(self):
        keep = self.chance.randint(0, 4)
        self.do("XTRIM", self.key, "MAXLEN", keep)
        self.there = self.there[-keep:] if keep else []

    def take_back(self):
        # Not the id of `last` from another life: two choices of one id are beyond us (loss.h).
        may = [e for e in self.there if self.lives == 0 or e[0] != self.last]
        if may:
            entry = self.chance.choice(may)
            self.there.remove(entry)
            self.do("XDEL", self.key, "%d-%d" % entry[0])
            self.taken_back.add(entry)

    def delete(self):
        self.do("DEL", self.key)
        self.there, self.lives = [], self.lives + 1
        ms = self.top[0]  # it goes on, or back, or far ahead
        self.top = (self.chance.choice([0, ms // 2, ms, ms + 1000]), self.chance.choice([0, 5]))

    def lost(self):
        """Added in this play, and neither there at its end nor taken back."""
        return [e for e in self.added if e not in self.there and e not in self.taken_back]

    def come(self):
        return [e for e in self.added if e in self.there]


def compose(chance, key, there, top, number):
    play = Play(chance, key, there, top)
    # A stream that is made, deleted and made again before it was ever read hides what it had.
    deletes = chance.random() < 0.25 and number > 0
    for step in range(chance.randint(1, 12)):
        kind = chance.choice(["add"] * 5 + ["trim", "take_back"] + ["delete"] * deletes)
        if kind == "add":
            for i in range(chance.choice([1, 1, 2, 5])):
                play.add(f"{number}.{step}.{i}")
        else:
            getattr(play, kind)()
    return play


@pytest.mark.parametrize("early", [0, 2 * LIFE_IS_LONG], ids=["young", "old"])
async def test_a_number_is_right_and_no_loss_is_unsaid(start, stream, early):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    seed = int(os.environ.get("BOND_LOSS_SEED") or random.randrange(1 << 32))
    chance = random.Random(seed)
    key, there, top = f"stream:{stream}", [], (1000, 0)
    numbers = said = 0
    async with broker.connect(stream, format="envelope") as ws:
        await told(ws, "live")
        for number in range(PLAYS):
            if number == 0 and early:
                play = Play(chance, key, there, top)
                for i in range(early):
                    play.add(f"early {i}")
            else:
                play = compose(chance, key, there, top, number)
            # The last one is there in any case: so the client knows that all has been read.
            play.add(f"end of {number}")
            pipe = redis.client.pipeline(transaction=True)
            for command in play.commands:
                pipe.execute_command(*command)
            pipe.execute()
            got = await told(ws, "event", data=f"end of {number}")
            report = f"seed {seed}, play {number}: {play.commands}\n{got}"

            events = [m["data"] for m in got if m["type"] == "event"]
            assert events == [data for _, data in play.come()], report
            missed = [g["missed"] for g in gaps(got)]
            lost = len(play.lost())
            if None not in missed:
                assert sum(missed) == lost, report
                numbers += len(missed)
            if lost:
                assert missed, f"{lost} lost, and nothing was said: {report}"
            said += len(missed)
            there, top = play.there, play.top
    assert said > PLAYS / 20, "nothing was lost: nothing was tested"
    assert numbers or not early, "no gap had a number: nothing was tested"
