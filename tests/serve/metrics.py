"""What the broker says of itself, as tests read it."""

import re

from wire import get

_SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """{(name, (("label", "value"), …)): number}, labels in the order of their names."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = _SAMPLE.match(line).groups()
        key = name, tuple(sorted(_LABEL.findall(labels or "")))
        assert key not in samples, f"twice: {line}"
        samples[key] = float(value)
    return samples


class Metrics:
    """/metrics of a broker: m("bond_gaps_total", reason="slow") is a number, and grew(…)
    how much more it is than when the object was made."""

    def __init__(self, broker, port=None, headers=()):
        self.port, self.headers = port or broker.port, headers
        self.first = self.all()

    def text(self):
        reply = get(self.port, "/metrics", *self.headers)
        assert reply.status == 200, reply
        return reply.body.decode()

    def all(self):
        return parse(self.text())

    @staticmethod
    def find(samples, name, labels):
        """The sum over all samples that have these labels, whatever others they have."""
        found = [
            value
            for (n, have), value in samples.items()
            if n == name and set(labels.items()) <= set(have)
        ]
        assert found, f"no {name} {labels}"
        return sum(found)

    def __call__(self, name, **labels):
        return self.find(self.all(), name, labels)

    def grew(self, name, **labels):
        return self(name, **labels) - self.find(self.first, name, labels)
