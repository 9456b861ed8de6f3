"""Tools, tool calls and approvals as pure rules. Entry points: `offer.make_offer`,
`offer.plan_calls`."""
