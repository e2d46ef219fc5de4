"""README's table of settings is what `bond-broker help` prints: names, defaults, meanings."""

import re

from harness import ROOT, run_cli


def settings_of_help():
    """Lines such as `  BOND_PORT   the port to listen on [8080]`."""
    text = run_cli("help").stdout
    return re.findall(r"^  ([A-Z_]+) +(.*) \[(.*)\]$", text, re.MULTILINE)


def settings_of_readme():
    """Rows such as ``| `BOND_PORT` | `8080` | the port to listen on |``."""
    text = (ROOT / "README.md").read_text()
    table = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.*) \|$", table, re.MULTILINE)
    return [(name, about, default) for name, default, about in rows]


def test_the_table_of_settings_is_what_help_says():
    assert settings_of_readme() == settings_of_help() != []


def test_relative_links_lead_somewhere():
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/*.md")]
    missing = [
        f"{document.name}: {target}"
        for document in documents
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert missing == []
