"""What infra/ gives to operators: alert rules and a dashboard that know the broker's metrics."""

import json
import re
import subprocess

from harness import ROOT, seconds
from test_metrics import needs_promtool
from wire import get

RULES = ROOT / "infra/prometheus-rules.yml"
RULES_TEST = ROOT / "infra/prometheus-rules-test.yml"
DASHBOARD = ROOT / "infra/grafana-dashboard.json"


def promtool(*args):
    done = subprocess.run(
        ["promtool", *map(str, args)], capture_output=True, text=True, timeout=seconds(30)
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_alert_rules_fire_when_they_should():
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)


def test_each_alert_has_a_case_in_which_it_fires():
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    fired = set(re.findall(r'alertname="(\w+)"', RULES_TEST.read_text()))
    assert set(alerts) == fired and len(alerts) == len(set(alerts)) > 10


def samples(broker):
    """The names of all samples: with _bucket, _sum, _count, _total."""
    return set(re.findall(r"^(\w+)", get(broker.port, "/metrics").body.decode(), re.MULTILINE))


def expressions():
    """Each with where it stands: the rules' and the dashboard's."""
    for expression in re.findall(r"expr: (.*)", RULES.read_text()):
        yield "rules", expression
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_rules_and_dashboard_know_only_metrics_that_there_are(broker):
    names = samples(broker)
    used = {
        (where, name)
        for where, expression in expressions()
        for name in re.findall(r"\b(?:bond|process)_\w+", expression)
    }
    assert len(used) > 30
    assert {(where, name) for where, name in used if name not in names} == set()


@needs_promtool
def test_the_dashboard_s_expressions_parse(tmp_path):
    """As recording rules, with Grafana's variables filled in."""
    rules = [
        {
            "record": f"x:{n}",
            "expr": e.replace("$__rate_interval", "1m").replace("$instance", ".*"),
        }
        for n, (_, e) in enumerate(expressions())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def test_panels_do_not_overlap():
    taken = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24 and (x, y) not in taken, panel["title"]
                taken.add((x, y))
