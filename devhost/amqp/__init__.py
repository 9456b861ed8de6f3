"""Reads and writes AMQP 1.0. Entry points: `connection.Connection`, `message.slice_message`.

The codec and the peer under the local Service Bus (`devhost.servicebus`) and under the Functions
host's client of it. It imports the standard library only. By layers:

- `types`: how Python holds AMQP's types. Plain `int` is a long, `float` a double, `str` a
  string, `bytes` a binary, `dict` a map, `list` a list, `uuid.UUID` a uuid; everything else has a
  class (`UInt`, `ULong`, `Symbol`, `Timestamp`, `Array`, `Described` ...), so that a decoded
  value is encoded again with its own type.
- `decode`: `decode_value(data, position) -> (value, position)`, `skip_value(data, position) ->
  position`. `encode`: `encode_value(value) -> bytes`, `append_value(out, value)`.
- `performatives`: `Open`, `Begin`, `Attach`, `Flow`, `Transfer`, `Disposition`, `Detach`, `End`,
  `Close`, `Source`, `Target`, the delivery states and `Error`; `sasl`: the five SASL frames. All
  are named tuples in the order of the specification; an absent field is None; plain ints are
  written with the field's own type. `composites`: `encode_composite`, `append_composite` and
  `decode_composite`, which read and write them all.
- `frames`: `FrameReader.feed(data) -> [Frame | ProtocolHeader]`, `encode_frame`,
  `encode_transfer` (cuts a payload into frames of the peer's size), `EMPTY_FRAME`, the headers.
- `message`: `slice_message(data) -> Sections` cuts a message into its sections without decoding
  them; `Header`, `Properties`, and functions that read and write one section.
- `connection`, `session`, `link`, `receiver`, `sender`: the peer, for both roles (ADR 0031).
- `errors`: `AmqpError`, of it `DecodeError` (the peer's fault), `EncodeError` (ours).

Everything that arrives is checked before it is used: sizes against what is there, counts against
sizes, nesting against a bound. Wrong bytes raise `DecodeError` and nothing else.
"""
