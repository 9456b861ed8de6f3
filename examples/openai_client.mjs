// Talks to an agent through OpenAI's client: streams an answer, and goes on with the conversation.
//
// Needs a running AOS (`make run`) and `npm install openai`; AOS_URL and AOS_KEY point elsewhere.
// node examples/openai_client.mjs
import OpenAI from "openai";

const url = process.env.AOS_URL || "http://127.0.0.1:7071";
const apiKey = process.env.AOS_KEY || "any";
const client = new OpenAI({ baseURL: `${url}/api/openai/v1`, apiKey });
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
