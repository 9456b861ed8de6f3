"""Spreads the test files over the processes of a run. Entry point: `Lanes`.

Some files wait most of their time: for locks that end, for processes that start, for timers. The
others compute. So two thirds of the processes begin with files that wait and the others with files
that compute, the longest first; a process that has no more of its own kind takes what is left. The
files of tests/e2e share a laptop, which each process that takes one of them starts once.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LAPTOP = "tests/e2e/"
WAITING = (
    LAPTOP,
    "tests/worker/",
    "tests/contract/functions/",
    "tests/contract/servicebus/",
    "tests/contract/test_catalog_on_azurite.py",
    "tests/contract/test_forgetting.py",
    "tests/contract/test_forgotten_letters.py",
    "tests/contract/test_job_queue.py",
    "tests/contract/test_poison_queue.py",
    "tests/contract/test_service_bus.py",
    "tests/docs/test_commands.py",
    "tests/infra/operations/test_drill.py",
    "tests/infra/operations/test_idle.py",
    "tests/test_integration.py",
)
"""Beginnings of the names of files whose tests wait for processes."""

SECONDS = {
    "tests/e2e/test_kills.py": 115,
    "tests/e2e/test_cli.py": 65,
    "tests/e2e/test_openapi.py": 60,
    "tests/e2e/test_waking.py": 57,
    "tests/contract/test_service_bus.py": 55,
    "tests/infra/operations/test_idle.py": 53,
    "tests/e2e/test_tools.py": 50,
    "tests/infra/operations/test_drill.py": 46,
    "tests/contract/test_poison_queue.py": 43,
    "tests/contract/test_job_queue.py": 42,
    "tests/contract/test_forgetting.py": 35,
    "tests/e2e/test_tool_kills.py": 32,
    "tests/docs/test_commands.py": 30,
    "tests/contract/test_forgotten_letters.py": 28,
    "tests/e2e/test_drain.py": 27,
    "tests/e2e/test_questions.py": 26,
    "tests/e2e/test_the_road.py": 25,
    "tests/contract/functions/test_service_bus.py": 22,
    "tests/e2e/test_broken_cards.py": 22,
    "tests/e2e/test_streams.py": 20,
    "tests/contract/test_catalog_on_azurite.py": 20,
    "tests/worker/test_packages.py": 20,
    "tests/e2e/test_a2a.py": 19,
    "tests/e2e/test_bad_day.py": 19,
    "tests/contract/servicebus/test_queues.py": 18,
    "tests/contract/servicebus/test_sessions.py": 18,
    "tests/e2e/test_our_clients.py": 17,
    "tests/e2e/test_approvals.py": 17,
    "tests/e2e/test_python_face.py": 15,
    "tests/e2e/test_ag_ui.py": 15,
    "tests/e2e/test_openai.py": 15,
    "tests/contract/servicebus/test_keys.py": 14,
    "tests/contract/servicebus/test_administration.py": 12,
    "tests/contract/functions/test_http.py": 12,
    "tests/contract/functions/test_worker_telemetry.py": 11,
    "tests/e2e/test_telemetry.py": 11,
    "tests/e2e/test_keys.py": 10,
    "tests/contract/servicebus/test_process.py": 10,
    "tests/e2e/test_rubbish.py": 9,
    "tests/e2e/test_agent_tools.py": 9,
    "tests/e2e/test_one_conversation.py": 9,
    "tests/test_integration.py": 9,
    "tests/infra/test_settings.py": 70,
    "tests/simulation/test_teeth.py": 65,
    "tests/simulation/test_seeds_2.py": 52,
    "tests/simulation/test_seeds_1.py": 45,
    "tests/simulation/test_seeds_3.py": 42,
    "tests/simulation/test_seeds_4.py": 42,
    "tests/infra/packages/test_packages.py": 40,
    "tests/infra/operations/test_backup.py": 35,
    "tests/unit/hostile/test_patterns.py": 32,
    "tests/contract/mcp/test_nasty_servers.py": 30,
    "tests/contract/mcp/test_odd_servers.py": 27,
    "tests/infra/packages/test_starting.py": 26,
    "tests/contract/mcp/test_walls.py": 22,
    "tests/infra/test_templates.py": 22,
    "tests/unit/test_packaging.py": 20,
    "tests/contract/mcp/test_real_servers.py": 18,
    "tests/infra/operations/test_publish.py": 16,
    "tests/unit/hostile/test_parsers.py": 16,
    "tests/infra/test_variants.py": 14,
    "tests/unit/devhost/test_laptop.py": 13,
    "tests/docs/test_pages.py": 12,
    "tests/unit/test_structure.py": 12,
    "tests/simulation/test_simulation.py": 12,
    "tests/test_azure_functions_infrastructure.py": 11,
    "tests/unit/test_run_options.py": 11,
    "tests/unit/catalog/test_scale.py": 10,
    "tests/dialects/test_turns.py": 10,
}
"""What long files took on a machine with two cores, those that wait first. A long file that is not
here begins last, so that the others wait for it."""


class Lanes(LoadFileScheduling):
    """One file at a time for each process: of its own kind before others, long before short."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = self.nodes.index(node) < 2 * len(self.nodes) // 3
        self.workqueue.move_to_end(choose(self.workqueue, waits=waits), last=False)
        super()._assign_work_unit(node)


def choose(files: dict[str, dict[str, bool]], *, waits: bool) -> str:
    """The file that comes next where files that wait (or those that compute) are preferred.

    One that needs the laptop of tests/e2e is the last that a process takes which computes.
    """
    return max(
        files,
        key=lambda name: (
            name.startswith(WAITING) == waits,
            waits or not name.startswith(LAPTOP),
            SECONDS.get(name, 0),
            len(files[name]),
        ),
    )
