"""How is AMQP 1.0 read and written, without a connection in sight?

The codec under the local Service Bus (`devhost.servicebus`) and under the Functions host's client
of it. It opens no socket, keeps no state but a half-read frame, and imports the standard library
only. By layers:

- `types`: the Python face of AMQP's types. Plain `int` is a long, `float` a double, `str` a
  string, `bytes` a binary, `dict` a map, `list` a list, `uuid.UUID` a uuid; everything else has a
  class (`UInt`, `ULong`, `Symbol`, `Timestamp`, `Array`, `Described` ...), so that what was
  decoded is encoded again with its own type.
- `decode`: `decode_value(data, position) -> (value, position)`, `skip_value(data, position) ->
  position`. `encode`: `encode_value(value) -> bytes`, `append_value(out, value)`.
- `performatives`: `Open`, `Begin`, `Attach`, `Flow`, `Transfer`, `Disposition`, `Detach`, `End`,
  `Close`, `Source`, `Target`, the delivery states and `Error`; `sasl`: the five SASL frames. All
  are named tuples in the order of the specification, a field that is absent being None; plain
  ints are written with the field's own type. `composites`: `encode_composite`, `append_composite`
  and `decode_composite`, which read and write them all.
- `frames`: `FrameReader.feed(data) -> [Frame | ProtocolHeader]`, `encode_frame`,
  `transfer_frames` (cuts a payload into frames of the peer's size), `EMPTY_FRAME`, the headers.
- `message`: `slice_message(data) -> Sections` cuts a message into its sections without decoding
  them; `Header`, `Properties`, and functions that read and write one section.
- `errors`: `AmqpError`, of it `DecodeError` (the peer's fault), `EncodeError` (ours).

Everything that arrives is checked before it is believed: sizes against what is there, counts
against sizes, nesting against a bound. Wrong bytes raise `DecodeError` and nothing else.
"""
