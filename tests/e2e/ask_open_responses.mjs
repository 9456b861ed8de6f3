// Asks an agent through the AI SDK's provider for Open Responses: a stream, its own history, an
// object, a stream that is given up, an error. Prints what it got, one JSON value a line. With
// `stream` it only prints an answer as it is written.
//
// node tests/e2e/ask_open_responses.mjs http://127.0.0.1:7071 AGENT [stream]
import { createOpenResponses } from "@ai-sdk/open-responses";

const [host, agent, only] = process.argv.slice(2);
const aos = createOpenResponses({
  name: "aos",
  url: `${host}/api/openai/v1/responses`,
  apiKey: "any",
});
const say = (role, text) => ({ role, content: [{ type: "text", text }] });
const print = (value) => console.log(JSON.stringify(value));

async function* stream(prompt, more = {}) {
  const { stream } = await aos(agent).doStream({ prompt, ...more });
  for await (const part of stream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") yield part.delta;
  }
}

if (only === "stream") {
  for await (const delta of stream([say("user", "Tell.")])) process.stdout.write(delta);
  process.exit();
}

const prompt = [say("user", "One?")];
let text = "";
for await (const delta of stream(prompt)) text += delta;
print(text);

prompt.push(say("assistant", text), say("user", "Two?"));
const second = await aos(agent).doGenerate({
  prompt: [{ role: "system", content: "Be brief." }, ...prompt],
});
print([second.content.map((part) => part.text).join(""), second.finishReason.unified]);

const schema = { type: "object", properties: { step: { type: "string" } }, required: ["step"] };
const plan = await aos(agent).doGenerate({
  prompt: [say("user", "Plan?")],
  responseFormat: { type: "json", name: "plan", schema },
});
print(JSON.parse(plan.content[0].text));

const stop = new AbortController();
try {
  for await (const _ of stream([say("user", "Tell.")], { abortSignal: stop.signal })) stop.abort();
  print("whole");
} catch (error) {
  print(error.name);
}

try {
  await aos("nobody").doGenerate({ prompt });
} catch (error) {
  print([error.statusCode, JSON.parse(error.responseBody).error.code]);
}
