"""How does a Functions app run on a laptop, without Azure and without Core Tools?

`python -m devhost.functions APP_FOLDER` serves one app: its HTTP routes, timers, storage queues
and Service Bus triggers, through the unmodified `azure-functions` library. What Azure's host or
its Python worker refuses, this host refuses too.
"""
