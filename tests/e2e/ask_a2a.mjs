// Speaks A2A with @a2a-js/sdk: reads the card, streams a message, and reads, lists and cancels tasks.
// Arguments: the address of the agent, the text, the binding. Prints one line of JSON.
import { ClientFactory, JsonRpcTransportFactory, RestTransportFactory } from "@a2a-js/sdk/client";

const [url, text, binding] = process.argv.slice(2);
const transports = { JSONRPC: new JsonRpcTransportFactory(), "HTTP+JSON": new RestTransportFactory() };
const factory = new ClientFactory({ transports: [transports[binding]] });
const client = await factory.createFromUrl(`${url}/`);
const part = { content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "" };
const message = {
  messageId: crypto.randomUUID(), contextId: "", taskId: "", role: 1, parts: [part],
  metadata: undefined, extensions: [], referenceTaskIds: [],
};
const request = { tenant: "", message, configuration: undefined, metadata: undefined };
let told = "";
let id = "";
const kinds = new Set();
for await (const event of client.sendMessageStream(request)) {
  const { $case: kind, value } = event.payload;
  kinds.add(kind);
  if (kind === "task") id = value.id;
  if (kind !== "artifactUpdate") continue;
  const said = value.artifact.parts.map((it) => it.content.value).join("");
  told = value.append ? told + said : said;
}
const task = await client.getTask({ tenant: "", id, historyLength: undefined });
const { tasks } = await client.listTasks({ tenant: "", contextId: task.contextId, pageSize: 5, pageToken: "", status: 0 });
let refusal = "";
try {
  await client.cancelTask({ tenant: "", id, metadata: undefined });
} catch (error) {
  refusal = error.name;
}
console.log(JSON.stringify({
  told, kinds: [...kinds], state: task.status.state, listed: tasks.map((it) => it.id), id, refusal,
  output: task.artifacts[0].parts[0].content.value,
}));
