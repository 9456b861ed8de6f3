// Talks to an agent through OpenAI's client: streams an answer, and goes on with the conversation.
//
// npm install openai; node examples/openai_client.mjs http://127.0.0.1:7071 any-key
import OpenAI from "openai";

const [host, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${host}/api/openai/v1`, apiKey });
const models = await client.models.list();
console.log("agents:", models.data.map((model) => model.id).join(", "));

const conversation = (await client.conversations.create()).id;
const stream = await client.responses.create({
  model: "ceo",
  input: "What matters most?",
  conversation,
  stream: true,
});
for await (const event of stream) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
const second = await client.responses.create({ model: "ceo", input: "And next?", conversation });
console.log(`\n${second.output_text}`);
