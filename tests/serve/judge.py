"""What Redis was given, what clients got, and whether the second is what the broker
promises of the first (docs/protocol.md). Pure: no clock, no socket.

**What Redis was given.** Per stream one list of entries, in the order in which Redis
took them. An entry is *sure* when Redis acknowledged it, *void* when Redis is known not to
have it, and a *maybe* when its connection broke before the answer: such an event may be
delivered, in its place, and may be missing. An entry leaves Redis by a trim or by a
*reset*: its stream was deleted, flushed, lost in a kill, or thrown back to an older
snapshot. A reset ends a *run*; a throw-back ends one too, although the older entries of
the stream are there again.

**What is asked of a client that can be told** (envelope, server-sent events), from one
event that it got to the next, over its reconnects with what it had last:

- Its events are in the order of that list, and none comes twice. After a gap `reset` what
  is delivered may begin anew (the broker could not know that the client had it): the
  repetition is noted, and the order holds from there on.
- Each entry between two events that it got in succession is *covered* by a gap that it was
  told in between, or *excused*.
- A gap tells the truth: `after` is the event that the client had last, `before` is the one
  that comes next, `missed` is how many lie between.

**What a gap covers**: the entries between `after` and `before`; where `before` is null,
those that Redis was sent before the client was told. A gap `reset` covers what is left of
the runs that have ended, and of the new run what had left Redis again.

**What is excused**, because no broker can know of it:

- a maybe;
- *ended*: over a reconnect, or in its replay, what had left Redis, and whose run had been
  ended by a reset, before the new connection was live, unless that same broker has just had
  it (ids are all that a resumed client brings; a broker that comes later sees the new run
  only);
- *unseen*: for a fresh start, a run that began and ended between two reads of its broker:
  the stream was empty before, and is a new one behind it;
- *gone before a live start*: what had left Redis again before the client came;
- *overtaken*: over a reconnect, where a new run has grown past the id that the client
  resumes from, the entries of the new run up to that id;
- *lost with a snapshot*: what Redis was thrown back from before the broker had read it,
  where the event before it is still there;
- *its id is not new*: what a stream that is made anew with lower ids has up to the ids that
  it had, when a gap `reset` was told: if the connection to Redis was broken meanwhile, a
  broker must take those for events that it has had;
- *of a run to come*: who resumes from a lower id of a run that its broker has not read yet,
  while Redis cannot be read, is taken for one that is far behind, and gets older events;
- *ambiguous id*: who resumes from an id that two events bore begins anew;
- *looks trimmed*: a stream that was deleted, made anew, and has had trimmed at least as many
  events as it had had when it was read last, looks like one that was never deleted, and
  `missed` is counted from a wrong beginning (Redis counts what was ever added to a key, not
  which key it is).

**A fresh start** (live, from=) owes each entry that was sent to Redis after the handshake,
or lies behind what `live` named, and for from=now-… what is younger than that and in Redis.
A client that is let in while Redis cannot be read begins by the clock: where ids are not
Redis's clock, it is owed what was sent since it was live.

**What is asked of a raw connection**: order, no event twice, and no hole. It cannot be told
of what is trimmed or reset, so what is missing must have left Redis, and be missing from
a client of the same broker and stream that can be told and was there before and after; where
there was none, it is noted as unwitnessed. A raw connection that falls behind is closed
with 4008; one with slow=skip may have holes.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

REASONS = ("window", "limit", "trimmed", "slow", "reset")
CLOCK_SLACK_S = 0.05  # between an id's milliseconds and the moment of asking


def parse_id(text):
    ms, seq = text.split("-")
    return int(ms), int(seq)


# --- what Redis was given ----------------------------------------------------------


@dataclass
class Entry:
    at: int  # its place in the stream's list
    run: int
    nth: int  # of its run, from 1: Redis's entries-added with it
    sent: float
    id: tuple | None = None
    sure: bool = False
    void: bool = False
    removed: float | None = None  # when Redis was first asked to remove it
    removed_by: str | None = None  # trim, reset

    def remove(self, now, by):
        """It may come back with an old snapshot; who read meanwhile did not find it."""
        if self.removed is None:
            self.removed, self.removed_by = now, by


class Stream:
    """What one stream was given; the caller tells it in Redis's order."""

    def __init__(self, name):
        self.name = name
        self.entries = []
        self.present = []  # those in Redis now
        self.run = 0
        self.run_ends = {}  # when each ended
        self.nth = 0
        self.saved = ([], 0)
        self.thrown_back = []  # when

    def add(self, now):
        self.nth += 1
        entry = Entry(len(self.entries), self.run, self.nth, now)
        self.entries.append(entry)
        self.present.append(entry)
        return entry

    def acknowledge(self, entry, id):
        entry.id, entry.sure = id, True

    def deny(self, entry):
        """Redis does not have it and never had; it is the newest, but for others such."""
        entry.void = True
        self.present.remove(entry)
        self.nth -= 1

    def trim(self, now, keep):
        gone = self.present[: max(0, len(self.present) - keep)]
        self.present = self.present[len(gone) :]
        for entry in gone:
            entry.remove(now, "trim")

    def _end_run(self, now):
        self.run_ends[self.run] = now
        self.run += 1

    def reset(self, now):
        for entry in self.present:
            entry.remove(now, "reset")
        self.present = []
        self.nth = 0
        self._end_run(now)

    def save(self):
        self.saved = (list(self.present), self.nth)

    def throw_back(self, now):
        """Redis came back with what it had at the last save()."""
        kept, nth = self.saved
        self.thrown_back.append(now)
        back = {entry.at for entry in kept}
        for entry in self.present:
            if entry.at not in back:
                entry.remove(now, "reset")
        self.present, self.nth = list(kept), nth
        self._end_run(now)

    def find(self, id, by):
        """The newest entry of that id that was sent before `by`."""
        for entry in reversed(self.entries):
            if entry.id == id and entry.sent <= by and not entry.void:
                return entry
        return None


# --- what clients got --------------------------------------------------------------
#
# A record is a list of these, in the order in which they came.


@dataclass
class Open:
    t: float  # the handshake is over
    broker: int
    start: str  # live, first, last, time, id, after; also "none": nothing is known
    resumes: bool = False  # after= or Last-Event-ID is what this record had last
    asked: tuple | float | None = None  # the id, or for time Unix seconds: the later bound


@dataclass
class Event:
    t: float
    at: int  # of its entry, as its data says
    id: tuple | None = None  # as the envelope says; None: raw
    intact: bool = True  # its data is byte for byte what was published


@dataclass
class Gap:
    t: float
    after: tuple | None
    before: tuple | None
    reason: str
    missed: int | None


@dataclass
class Live:
    t: float
    id: tuple | None


@dataclass
class Close:
    t: float
    code: int | None
    how: str


@dataclass
class Record:
    client: str
    stream: str
    tells: bool
    items: list = field(default_factory=list)
    skips: bool = False  # slow=skip
    clock_ids: bool = True  # the stream's ids are Redis's clock

    def add(self, item):
        self.items.append(item)


@dataclass
class Violation:
    what: str  # hole, twice, disorder, missed, gap, stranger, live
    client: str
    stream: str
    t: float
    text: str
    item: int  # of the record

    def __str__(self):
        return f"{self.what}: {self.client} on {self.stream}: {self.text}"


def name(entry):
    id = "-".join(map(str, entry.id)) if entry.id else "?"
    return f"#{entry.at} ({id}, run {entry.run})"


def span(entries):
    if len(entries) == 1:
        return name(entries[0])
    return f"{len(entries)} events, {name(entries[0])} to {name(entries[-1])}"


# --- judging -----------------------------------------------------------------------


class Judge:
    """judge = Judge(streams, window_s); judge.run(records) gives the violations;
    judge.notes counts what was lenient and what was seen at all."""

    def __init__(self, streams, window_s):
        self.streams = streams
        self.window_s = window_s
        self.notes = Counter()
        self.violations = []
        self.delivered = {}  # (broker, stream, at) -> when, first
        self.absent = {}  # (broker, stream) -> places that telling clients were told are lost
        self.spans = {}  # (broker, stream) -> [(first, last place that one connection had)]

    def run(self, records):
        for record in records:
            self._note_deliveries(record)
        for record in sorted(records, key=lambda r: not r.tells):
            (Telling if record.tells else Raw)(self, record).run()
        return self.violations

    def _note_deliveries(self, record):
        broker, places, skipped = None, [], False
        for item in record.items + [Open(0, -1, "none")]:
            if isinstance(item, Open):
                if places and record.tells and not skipped:
                    spans = self.spans.setdefault((broker, record.stream), [])
                    spans.append((min(places), max(places)))
                broker, places, skipped = item.broker, [], False
            elif isinstance(item, Gap):
                skipped = skipped or item.reason not in ("trimmed", "reset")
            elif isinstance(item, Event):
                self.delivered.setdefault((broker, record.stream, item.at), item.t)
                places.append(item.at)


class _Reading:
    """What the two kinds of record have in common."""

    def __init__(self, judge, record):
        self.judge, self.record = judge, record
        self.stream = judge.streams[record.stream]
        self.entries = self.stream.entries
        self.index = 0
        self.open = Open(0, -1, "none")
        self.since = 0  # its fresh start
        self.live_at = None  # when this connection was live, if it says so
        self.had = None  # the entry that it had last
        self.ever, self.furthest = set(), -1  # all that it had since its fresh start

    def run(self):
        for self.index, item in enumerate(self.record.items):
            getattr(self, "take_" + type(item).__name__.lower())(item)

    def begin_afresh(self, item):
        self.since, self.had = item.t, None
        self.ever, self.furthest = set(), -1

    def take_close(self, close):
        self.judge.notes[f"closed {close.code or close.how}"] += 1

    def fail(self, what, t, text):
        self.judge.violations.append(
            Violation(what, self.record.client, self.record.stream, t, text, self.index)
        )

    def entry_of(self, event):
        """The entry, when the event is one that Redis was given, whole."""
        entry = self.entries[event.at] if 0 <= event.at < len(self.entries) else None
        if entry is None or entry.void:
            self.fail("stranger", event.t, f"#{event.at} was never in Redis")
            return None
        if event.id is not None and entry.id is None:
            entry.id = event.id  # nobody told us
        if event.id is not None and entry.id != event.id:
            self.fail("stranger", event.t, f"{name(entry)} came with the id {event.id}")
        if not event.intact:
            self.fail("stranger", event.t, f"{name(entry)} came with other data")
        return entry

    def between(self, low, high):
        """The entries that should have come between two places, both excluded."""
        return [e for e in self.entries[low + 1 : high] if not e.void]

    def owed_from(self, entry, t):
        """Of what lies before a fresh start's first event: what that start asked for."""
        since = self.since if self.record.clock_ids else max(self.since, self.live_at or t)
        return [e for e in self.between(-1, entry.at) if e.sent > since]

    def take_event(self, event):
        self.judge.notes["events"] += 1
        entry = self.entry_of(event)
        if entry is None:
            return
        if self.had is None:
            self.account_for(self.owed_from(entry, event.t), None, entry, event.t)
        elif entry.at <= self.had.at:
            self.went_back(entry, event)
        else:
            low = max(self.had.at, self.furthest)  # what lies before is judged
            self.account_for(self.between(low, entry.at), self.had, entry, event.t)
        self.after_event(entry, event)
        self.had = entry
        self.ever.add(entry.at)
        self.furthest = max(self.furthest, entry.at)

    def after_event(self, entry, event):
        pass

    def say_back(self, entry, event):
        what = "twice" if entry.at in self.ever else "disorder"
        self.fail(what, event.t, f"{name(entry)} came behind {name(self.had)}")


class Telling(_Reading):
    """A client that can be told, over its reconnects."""

    def __init__(self, judge, record):
        super().__init__(judge, record)
        self.gaps = []  # since the last event
        self.reset_at = 0  # when the last reset was told
        self.reconnected = False  # since the last event
        self.resumed_at = None
        self.here = None  # the id that this connection stands at, as far as known

    def take_open(self, item):
        self.open = item
        self.judge.notes["connections"] += 1
        self.reconnected = True
        self.here, self.live_at, self.resumed_at = None, None, None
        if item.resumes:
            self.judge.notes["resumed"] += 1
            self.here = self.resumed_at = item.asked if item.asked > (0, 0) else None
            if sum(e.id == item.asked and e.sent <= item.t for e in self.entries) > 1:
                self.judge.notes["excused: ambiguous id"] += 1
                self.here = None
                self.begin_afresh(item)
        else:
            self.begin_afresh(item)

    def begin_afresh(self, item):
        super().begin_afresh(item)
        self.gaps, self.reset_at = [], 0

    def take_live(self, live):
        self.live_at = live.t
        if self.gaps and self.gaps[-1].t >= self.open.t:
            pass  # it names what was before the gap
        elif self.had is None and live.id is not None:
            self.had = self.stream.find(live.id, live.t)
            if self.had is None:
                self.fail("live", live.t, f"{live.id} was never in Redis")
        elif self.here is not None and live.id != self.here:
            self.fail("live", live.t, f"live says {live.id}, but the last event was {self.here}")
        if live.id is not None and self.here is None and not self.gaps:
            self.here = live.id

    def take_gap(self, gap):
        self.judge.notes[f"gap {gap.reason}"] += 1
        if gap.reason == "reset":
            self.reset_at = gap.t
        if gap.reason not in REASONS:
            self.fail("gap", gap.t, f"no such reason: {gap.reason}")
        backward = gap.after and gap.before and gap.after >= gap.before
        if backward and gap.reason != "reset" and self.record.clock_ids:
            self.fail("gap", gap.t, f"{gap} ends before it begins")
        told_here = [g for g in self.gaps if g.t >= self.open.t]
        if not told_here and self.here is not None and gap.after != self.here:
            if self.reconnected and (gap.after is None or gap.after < self.here):
                self.judge.notes["gap begins before what a resumed client had"] += 1
            elif gap.after is not None or gap.reason != "slow":
                self.fail("gap", gap.t, f"{gap} does not begin at {self.here}, the last event")
        self.gaps.append(gap)

    def went_back(self, entry, event):
        if any(gap.reason == "reset" for gap in self.gaps):
            self.judge.notes["begun anew"] += 1
        elif self.is_from_a_run_to_come(self.had, entry):
            self.judge.notes["excused: its broker had not read that run"] += 1
        else:
            self.say_back(entry, event)

    def is_from_a_run_to_come(self, had, entry):
        run = [x.at for x in self.entries if x.run == had.run]
        at = [self.judge.delivered.get((self.open.broker, self.record.stream, x)) for x in run]
        return (
            not self.record.clock_ids
            and self.open.resumes
            and entry.run < had.run
            and not any(t is not None and t < self.open.t for t in at)
        )

    def after_event(self, entry, event):
        told_here = [g for g in self.gaps if g.t >= self.open.t]
        last = told_here[-1] if told_here else None
        if last and last.before is not None and last.before != entry.id:
            self.fail("gap", event.t, f"{last} does not end at {name(entry)}, the next event")
        self.gaps, self.reconnected, self.here = [], False, entry.id

    def owed_from(self, entry, t):
        owed = super().owed_from(entry, t)
        if self.open.start == "time" and self.record.clock_ids:
            live_at = self.live_at or t
            owed = [
                e
                for e in self.between(-1, entry.at)
                if e.sent > self.since
                or e.id
                and e.id[0] / 1000 >= self.open.asked + CLOCK_SLACK_S
                and (e.removed is None or e.removed > live_at)
            ]
        return owed

    # Holes.

    def account_for(self, missing, had, entry, t):
        bare = [e for e in missing if not self.covered(e, entry, t)]
        lost = [e for e in bare if not self.excused(e, had, entry, t)]
        if lost:
            told = f" (told: {self.gaps})" if self.gaps else ""
            before = f"after {name(had)}" if had else "at the start"
            self.fail("hole", t, f"{before} and before {name(entry)}: lost {span(lost)}{told}")
        self.check_missed(missing, had, entry, t)
        if missing and not lost:
            absent = self.judge.absent.setdefault((self.open.broker, self.record.stream), set())
            was_told = [g for g in self.gaps if g.reason in ("trimmed", "reset")]
            absent.update(e.at for e in missing if e in bare or self.covered(e, entry, t, was_told))

    def covered(self, e, entry, t, gaps=None):
        if self.left_before_a_reset(e):
            return True  # told, perhaps before what is back from a snapshot came
        reset = None  # the ids of the run before it mean nothing behind it
        for gap in self.gaps if gaps is None else gaps:
            if reset and gap.after == reset.after:
                gap = replace(gap, after=None)
            if self.covers(gap, e, entry, t):
                return True
            reset = gap if gap.reason == "reset" else reset
        return False

    def covers(self, gap, e, entry, t):
        before_is_told = gap.before is not None
        if gap.reason == "reset":
            if e.run != entry.run:
                return True
            if before_is_told and e.id and e.id < gap.before:
                return True
            if gap.after == self.resumed_at and not before_is_told and e.sent <= gap.t:
                return True  # begun anew, behind all that the window has
            if e.id and not self.record.clock_ids and any(
                x.id and x.id >= e.id for x in self.entries[: e.at] if x.run < e.run
            ):
                self.judge.notes["excused: its id is not new"] += 1
                return True
            return e.removed is not None and e.removed <= t
        if e.id is None:
            return True
        begun_in = self.had.run if self.had else e.run  # ids compare within a run
        if gap.after is not None and e.run == begun_in and e.id <= gap.after:
            return False
        if not before_is_told:
            return e.sent <= gap.t
        return e.run < entry.run or e.id < gap.before

    def left_before_a_reset(self, e):
        ended = self.stream.run_ends.get(e.run, self.reset_at + 1)
        return ended <= self.reset_at and e.removed is not None and e.removed <= self.reset_at

    def excused(self, e, had, entry, t):
        if not e.sure:
            self.judge.notes["excused: maybe"] += 1
            return True
        if self.id_is_not_new(e):
            self.judge.notes["excused: its id is not new"] += 1
            return True
        if had and self.came_and_went(e, had):
            self.judge.notes["excused: lost with a snapshot"] += 1
            return True
        live_at = min(self.live_at or t, t)
        if had and had.at not in self.ever and e.sent <= self.since and e.removed is not None:
            self.judge.notes["excused: gone before a live start"] += 1
            return True
        if (had is None or had.at not in self.ever) and self.never_read(e):
            self.judge.notes["excused: unseen"] += 1
            return True
        if self.reconnected or self.live_at is None:  # a replay is of what Redis had by then
            gone = e.removed is not None and e.removed <= live_at
            ended = self.stream.run_ends.get(e.run, live_at + 1) <= live_at
            if gone and ended and not self.was_known(e, had, live_at):
                self.judge.notes["excused: ended"] += 1
                return True
            if had and self.overtaken(e, had, live_at):
                self.judge.notes["excused: overtaken"] += 1
                return True
        if self.looks_trimmed(e, had, entry, t):
            self.judge.notes["excused: looks trimmed"] += 1
            return True
        return False

    def id_is_not_new(self, e):
        return (
            not self.record.clock_ids
            and e.id is not None
            and e.sent <= self.reset_at
            and any(x.id and x.id >= e.id for x in self.entries[: e.at] if x.run < e.run)
        )

    def came_and_went(self, e, had):
        """Redis was thrown back to when it had the one before and not this one, and this
        broker had read neither."""
        key = (self.open.broker, self.record.stream)
        kept = had.removed is None or had.removed > (e.removed or 0)
        was_read = self.judge.delivered.get((*key, e.at))
        return (
            e.removed_by == "reset"
            and e.removed in self.stream.thrown_back
            and kept
            and was_read is None
        )

    def never_read(self, e):
        """Its run came and went without a trace at this broker."""
        key = (self.open.broker, self.record.stream)
        run = [x for x in self.entries if x.run == e.run]
        return e.run in self.stream.run_ends and not any(
            (*key, x.at) in self.judge.delivered for x in run
        )

    def was_known(self, e, had, live_at):
        """This broker has just delivered both to somebody: it must still know."""
        recent = live_at - self.judge.window_s * 0.8
        def at(x):
            return self.judge.delivered.get((self.open.broker, self.record.stream, x.at), recent)
        ids = {x.id for x in self.entries[e.at + 1 :] if x.sent <= live_at and x.id}
        return (
            had is not None
            and self.record.clock_ids
            and recent < at(e) < self.open.t
            and recent < at(had) < self.open.t
            and had.id not in ids
            and self.judge.window_s >= 10  # else its ring may have lost it by now
        )

    def overtaken(self, e, had, live_at):
        ended = self.stream.run_ends.get(had.run)
        return (
            ended is not None
            and ended <= live_at
            and e.run > had.run
            and e.id is not None
            and e.id <= had.id
            and any(x.run == e.run and x.id and x.id >= had.id for x in self.entries[e.at :])
        )

    def looks_trimmed(self, e, had, entry, t):
        for gap in self.gaps:
            if had is None and gap.reason == "trimmed" and gap.after is not None:
                had = self.stream.find(gap.after, gap.t)
        if had is None or entry.run == had.run or e.removed is None or e.removed > t:
            return False
        new = [x for x in self.entries[: entry.at] if x.run == entry.run]
        return sum(x.removed is not None and x.removed <= t for x in new) >= had.nth

    # Counts.

    def check_missed(self, missing, had, entry, t):
        told = [gap.missed for gap in self.gaps]
        if not told or None in told or any(g.reason == "reset" for g in self.gaps):
            return
        if had is None or any(g.t < self.open.t for g in self.gaps):
            return  # where it begins is not known, or it was told twice of the same
        if had.run != entry.run:
            self.judge.notes["missed not judged: a reset between"] += 1
            return
        maybe = sum(not e.sure for e in missing)
        if not len(missing) - maybe <= sum(told) <= len(missing):
            self.fail(
                "missed", t, f"{self.gaps} say {sum(told)}, but {len(missing)} are missing"
                f" between {name(had)} and {name(entry)}"
            )
        self.judge.notes["missed is exact"] += 1


class Raw(_Reading):
    """A client that cannot be told. Each connection stands for itself."""

    def take_open(self, item):
        self.open = item
        self.judge.notes["raw connections"] += 1
        self.begin_afresh(item)

    def went_back(self, entry, event):
        if entry.at not in self.ever and any(t < event.t for t in self.stream.thrown_back):
            self.judge.notes["raw: back in Redis, and new to the broker"] += 1
        else:
            self.say_back(entry, event)

    def account_for(self, missing, had, entry, t):
        if self.record.skips:
            return
        key = (self.open.broker, self.record.stream)
        absent = self.judge.absent.get(key, ())
        missing = [e for e in missing if e.sure and e.at not in absent]
        if any(back <= t for back in self.stream.thrown_back):  # a snapshot is not as it was
            since = max(back for back in self.stream.thrown_back if back <= t)
            missing = [e for e in missing if e.removed is None or e.removed > since]
        if not missing:
            return
        low = had.at if had else missing[0].at - 1
        witnessed = any(
            first <= low and last >= entry.at for first, last in self.judge.spans.get(key, ())
        )
        lost = [e for e in missing if witnessed or e.removed is None or e.removed > t]
        if lost:
            before = f"after {name(had)}" if had else "at the start"
            self.fail("hole", t, f"{before} and before {name(entry)}: lost {span(lost)}")
        self.judge.notes["raw: missing, unwitnessed"] += len(missing) - len(lost)
