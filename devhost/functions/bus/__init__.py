"""Brings messages of a Service Bus to functions. Entry point: `intake.BusIntake`.

An AMQP 1.0 client on `devhost.amqp`: one connection for all functions of an app that name the
same namespace, and many links on it. A wait for a session costs one frame. A function is
called a millisecond or two after its message was sent.

`address` reads where the broker is and which key or identity it takes; `connection`, `links` and
`requests` speak the protocol; `claims` and `locks` renew tokens and locks; `message` makes of a
delivery what Azure's host hands to the Python worker; `handler` calls the function; `plain` and
`sessions` are the two pumps; `entity` and `intake` keep them connected.
"""
