"""What is a Service Bus without a cloud and without Docker?

An AMQP 1.0 server for the unmodified Azure SDKs (`UseDevelopmentEmulator=true`), which reads the
official emulator's Config.json and keeps messages in SQLite. `python -m devhost.servicebus
--config Config.json` runs it; it imports the standard library and `devhost.amqp` only. Inside:

- `entities` are the rules: queues, topics, sessions, locks, settlement. They know no frame and no
  database: what they change goes to a `Journal`, what is to happen later into an `Agenda`.
- `filters` decide which messages of a topic a subscription takes.
- `store` keeps the journal's records in SQLite; `turn` commits once per turn of the event loop
  and lets nobody hear of a change before it is on disk.
- `connection`, `session`, `inbound`, `outbound` speak AMQP; `claims` and `management` are the
  request/response nodes `$cbs` and `$management`; `http_port` answers `/health`.
- `policies` checks keys and tokens; `grants` is what a connection may do by them.
- `config` reads Config.json, `server` puts the parts together.
"""
