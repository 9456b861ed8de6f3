"""Runs a Service Bus on this machine, without Docker. Entry points: `server.Server`, `__main__`.

An AMQP 1.0 server for the unmodified Azure SDKs (`UseDevelopmentEmulator=true`), which reads the
official emulator's Config.json and stores messages in SQLite. `python -m devhost.servicebus
--config Config.json` runs it; it imports the standard library and `devhost.amqp` only. Inside:

- `entities` has the rules of queues, topics, sessions, locks and settlement. They know no frame
  and no database: what they change goes to a `Journal`, what is to happen later to an `Agenda`.
- `filters` decides which messages of a topic a subscription takes.
- `store` keeps records in SQLite; `group_commit` commits what happens together, and no client
  hears of a change before it is on disk.
- `connection`, `inbound` and `outbound` add to `devhost.amqp` what a server does; `claims` and
  `management` answer the nodes `$cbs` and `$management`; `http_port` answers `/health`.
- `policies` checks keys and tokens; `grants` keeps what a connection may do by them.
- `config` reads Config.json; `server` makes and connects the parts.
"""
