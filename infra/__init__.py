"""Deploys AOS to Azure and operates it. Entry points: the scripts `deploy`, `package`, `backup`,
`drill` and `health_check`."""
