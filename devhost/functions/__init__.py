"""Serves a Functions app on a laptop, without Azure and without Core Tools. Entry point:
`host.Host`.

`python -m devhost.functions APP_FOLDER` serves one app: its HTTP routes, timers, storage queues and
Service Bus triggers, with the unmodified `azure-functions` library. This host refuses what Azure's
host or its Python worker refuses.
"""
