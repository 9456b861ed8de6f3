"""The counts of `python -m benchmarks.structure`, on a checkout made for it and on this one."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from benchmarks.source_tree import SourceTree, find_circles
from benchmarks.structure import REPOSITORY, count_passed_functions, count_source

MODULES = {
    "aos/domain/value.py": """
        class Value:
            def to_dict(self):
                return {}

            @classmethod
            def from_dict(cls, raw):
                return cls()
        """,
    "aos/services/store/__init__.py": "from aos.services.store.keeping import Keeping",
    "aos/services/store/keeping.py": """
        from aos.domain.value import Value

        class Keeping:
            def __init__(self): ...
        """,
    "aos/bootstrap/main.py": """
        def make():
            from aos.services.store import Keeping
            return Keeping()
        """,
    "aos/testing/world.py": """
        from aos.services.store.keeping import Keeping
        kept = Keeping()
        """,
    "tests/unit/test_keeping.py": """
        from aos.services.store import Keeping
        Keeping()
        """,
    "devhost/first.py": "import devhost.second",
    "devhost/second.py": """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from devhost.first import First
        """,
    "infra/deploy.py": "from orchestrator.steps import plan",
    "infra/orchestrator/steps.py": "def plan(): ...",
}


def test_what_a_checkout_repeats_is_counted_from_its_text(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text).strip() + "\n", "utf-8")
    found = count_source(tmp_path)
    assert found.wired == {"Keeping": ["aos.bootstrap.main", "aos.testing.world"]}
    assert found.unit_wired == {"Keeping": 1}
    assert found.codecs == [
        "aos.domain.value.Value.to_dict",
        "aos.domain.value.Value.from_dict",
    ]
    assert found.circles == []
    assert found.circles_with_types == [["devhost.first", "devhost.second"]]
    assert found.lone["aos"] == [
        "aos.domain.value (7 lines, imported by aos.services.store.keeping)"
    ]
    assert found.lone["infra"] == ["infra.orchestrator.steps (1 lines, imported by infra.deploy)"]
    assert found.lines == {"aos": 17, "devhost": 5, "infra": 2}


def test_this_checkout_wires_each_service_once_and_writes_no_codec_by_hand() -> None:
    found = count_source(REPOSITORY)
    assert {name: places for name, places in found.wired.items() if len(places) != 1} == {}
    assert len(found.wired) > 10
    assert found.codecs == []
    assert found.lone["infra"] == []


def test_circles_are_found_apart_and_a_chain_is_none() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"f"}, "f": {"e"}}
    assert find_circles(edges) == [["e", "f"], ["a", "b", "c"]]
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_a_warm_get_of_a_run_is_followed_through_the_apps_of_this_checkout() -> None:
    found = count_passed_functions(REPOSITORY)
    assert "domain/codec.py" in {name.partition(":")[0] for name in found["names"]}
    assert 0 < found["files_without_adapters"] <= found["files"] <= found["functions"]
    tree = SourceTree.read(REPOSITORY, ("aos",))
    files = {str(it.path.relative_to(REPOSITORY / "aos")) for it in tree.below("aos")}
    assert {name.partition(":")[0] for name in found["names"]} <= files
