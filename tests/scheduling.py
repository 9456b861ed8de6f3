"""Spreads the test files over the processes of a run. Entry point: `Lanes`.

Half of the suite's time is waiting: for locks that end, for processes that start, for timers. The
other half computes. So half of the processes begin with files that wait and the others with files
that compute, the longest first; who has no more of its own kind takes what is left. Files that
wait also share their laptop, which each process starts once: two processes start two.
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

SECONDS: dict[str, int] = {
    "tests/e2e/test_the_road.py": 115,
    "tests/e2e/test_kills.py": 110,
    "tests/e2e/test_tools.py": 85,
    "tests/e2e/test_waking.py": 70,
    "tests/e2e/test_openapi.py": 60,
    "tests/e2e/test_cli.py": 50,
    "tests/infra/test_settings.py": 40,
    "tests/simulation/test_teeth.py": 60,
    "tests/simulation/test_simulation.py": 50,
    "tests/unit/hostile/test_patterns.py": 20,
}
"""What long files took on a machine with two cores."""


class Lanes(LoadFileScheduling):
    """One file at a time for each process: of its own kind before others, long before short."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = self.nodes.index(node) < (len(self.nodes) + 1) // 2
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
