// Ask an agent with the SDK of A2A for JavaScript, and print the text as it comes.
//
// Needs a running AOS (`make run`) and `npm install @a2a-js/sdk`; AOS_URL and AOS_KEY point
// elsewhere. node examples/a2a_client.mjs [AGENT]
import { Role } from "@a2a-js/sdk";
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
} from "@a2a-js/sdk/client";

const url = process.env.AOS_URL || "http://127.0.0.1:7071";
const fetchImpl = (address, { headers, ...init } = {}) =>
  fetch(address, { ...init, headers: { ...headers, "x-functions-key": process.env.AOS_KEY ?? "" } });
const factory = new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl })],
  cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
});
const client = await factory.createFromUrl(`${url}/api/a2a/${process.argv[2] ?? "ceo"}/`);
const text = { $case: "text", value: "What should we do first?" };
const message = { messageId: crypto.randomUUID(), role: Role.ROLE_USER, parts: [{ content: text }] };
for await (const { payload } of client.sendMessageStream({ message })) {
  if (payload.$case !== "artifactUpdate") continue;
  for (const { content } of payload.value.artifact.parts) process.stdout.write(content.value);
}
console.log();
