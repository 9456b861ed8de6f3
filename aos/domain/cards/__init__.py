"""Agent cards and MCP server cards: their fields, their check and the catalog. Entry points:
`check.assess_card`, `publication.plan_publication`."""
