"""Spreads the test files over the processes of a run. Entry point: `Lanes`.

Some files wait most of their time: for locks that end, for processes that start, for timers. The
others compute. So two thirds of the processes begin with files that wait and the others with files
that compute, the longest first; a process that has no more of its own kind takes what is left. The
files of tests/e2e share a laptop, which each process that takes one of them starts once.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

WAITING = (
    "tests/e2e/",
    "tests/worker/",
    "tests/contract/functions/",
    "tests/contract/servicebus/",
    "tests/contract/test_service_bus.py",
    "tests/docs/test_commands.py",
    "tests/test_integration.py",
)
"""Beginnings of the names of files whose tests wait for processes."""

SECONDS = {
    "tests/e2e/test_cli.py": 110,
    "tests/e2e/test_kills.py": 105,
    "tests/e2e/test_openapi.py": 90,
    "tests/e2e/test_waking.py": 65,
    "tests/contract/test_service_bus.py": 60,
    "tests/e2e/test_the_road.py": 50,
    "tests/e2e/test_tools.py": 50,
    "tests/docs/test_commands.py": 40,
    "tests/e2e/test_a2a.py": 40,
    "tests/e2e/test_tool_kills.py": 40,
    "tests/e2e/test_drain.py": 35,
    "tests/e2e/test_questions.py": 35,
    "tests/e2e/test_approvals.py": 35,
    "tests/e2e/test_streams.py": 30,
    "tests/contract/functions/test_http.py": 25,
    "tests/contract/functions/test_service_bus.py": 25,
    "tests/simulation/test_teeth.py": 30,
    "tests/infra/test_settings.py": 40,
    "tests/simulation/test_seeds_1.py": 15,
    "tests/simulation/test_seeds_2.py": 15,
    "tests/simulation/test_seeds_3.py": 15,
    "tests/simulation/test_seeds_4.py": 15,
    "tests/simulation/test_simulation.py": 15,
    "tests/infra/packages/test_starting.py": 30,
    "tests/unit/hostile/test_patterns.py": 20,
}
"""What long files took on a machine with two cores."""


class Lanes(LoadFileScheduling):
    """One file at a time for each process: of its own kind before others, long before short."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = self.nodes.index(node) < 2 * len(self.nodes) // 3
        self.workqueue.move_to_end(choose(self.workqueue, waits=waits), last=False)
        super()._assign_work_unit(node)


def choose(files: dict[str, dict[str, bool]], *, waits: bool) -> str:
    """The file that comes next where files that wait (or those that compute) are preferred."""
    return max(
        files,
        key=lambda name: (
            name.startswith(WAITING) == waits,
            SECONDS.get(name, 0),
            len(files[name]),
        ),
    )
