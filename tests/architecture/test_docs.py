"""The documents keep step with the code: every variable is documented, every link leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
#: Functions of settings/environment.py, and the helper in base.py, whose first argument is a variable's name.
READERS = frozenset({"text", "flag", "whole", "choice", "words", "_database"})
READ_BY = ("opsportal/**/*.py", "circuit/**/*.py", "manage.py", "tests/servers.py", "Makefile", "Procfile")
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \|", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def documented_variables() -> list[str]:
    return ROW.findall((ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"))


def read_variables(source: str) -> Iterator[str]:
    """The names that a settings file asks the environment for."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if name in READERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def variables_of_the_settings() -> set[str]:
    source = (ROOT / "opsportal" / "settings" / "base.py").read_text(encoding="utf-8")
    return set(read_variables(source)) | {f"FEATURE_{name.upper()}" for name in settings.FEATURES}


def anchors(document: Path) -> set[str]:
    """The headings of a document as addresses inside it."""
    headings = HEADING.findall(document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_read_variables__settings_like_source__finds_each_name() -> None:
    """The finder itself finds what it must, so that the next test cannot pass on nothing."""
    source = 'A = e.text("ONE")\nB = e.flag("TWO", False)\nC = _database("THREE")\nD = {}.get("FOUR")'
    assert set(read_variables(source)) == {"ONE", "TWO", "THREE"}
    assert {"ENVIRONMENT", "DATABASE_URL", "FEATURE_CIRCUIT"} <= variables_of_the_settings()


def test_configuration__variable_of_the_settings__has_a_row() -> None:
    """RUN-5: each variable is documented in one table, once."""
    rows = documented_variables()
    assert variables_of_the_settings() - set(rows) == set()
    assert len(rows) == len(set(rows))


def test_configuration__row__is_read_by_the_code() -> None:
    """RUN-5: no row outlives its variable."""
    sources = [path for pattern in READ_BY for path in ROOT.glob(pattern)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    known = variables_of_the_settings()
    stale = [name for name in documented_variables() if name not in known and not re.search(rf"\b{name}\b", text)]
    assert stale == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document__its_links__lead_somewhere(document: Path) -> None:
    """Q-6: a link to a file of the project finds the file, and the heading it names."""
    broken = []
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document__stands_on_its_own(document: Path) -> None:
    """No document sends its reader to a place that only its writer had."""
    assert "../shared" not in document.read_text(encoding="utf-8")


def test_readme__every_decision_and_document__is_linked() -> None:
    """Q-6: who opens the README finds every document."""
    readme = ROOT / "README.md"
    linked = {(ROOT / target).resolve() for target in LINK.findall(readme.read_text(encoding="utf-8"))}
    documents = sorted((ROOT / "docs").rglob("*.md"))
    assert [str(path.relative_to(ROOT)) for path in documents if path not in linked] == []
