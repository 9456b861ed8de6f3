"""Carries out the commands of `aos`, a module for each kind. Entry points: `asking.add_ask`,
`runs.add_runs`, `people.add_approve`, `cards.add_put`,
`folders.add_apply`, `operations.add_switch`."""
