// Uses OpenAI's client for JavaScript: `stream` prints an answer as it is written, `cancel` begins
// a response in the background and cancels it, `decide` approves a tool call.
//
// node tests/e2e/ask_openai.mjs http://127.0.0.1:7071 AGENT stream|cancel|decide
import OpenAI from "openai";

const [host, model, what] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${host}/api/openai/v1`, apiKey: "any", maxRetries: 0 });

async function stream() {
  const events = await client.responses.create({ model, input: "Tell.", stream: true });
  for await (const event of events) {
    if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
  }
}

async function cancel() {
  const begun = await client.responses.create({ model, input: "Never.", background: true });
  const cancelled = await client.responses.cancel(begun.id);
  const found = await client.responses.retrieve(begun.id);
  console.log(cancelled.status, found.status);
}

async function decide() {
  const asked = await client.responses.create({ model, input: "x" });
  const wish = asked.output.at(-1);
  const done = await client.responses.create({
    model,
    previous_response_id: asked.id,
    input: [{ type: "mcp_approval_response", approval_request_id: wish.id, approve: true }],
  });
  console.log(wish.type, done.output.map((item) => item.type).join(" "), done.output_text);
}

await { stream, cancel, decide }[what]();
