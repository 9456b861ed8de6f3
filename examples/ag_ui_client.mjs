// Talk to an agent over AG-UI as a front end does, which runs a tool of its own for the agent.
//
// Needs a running AOS (`make run`) and `npm install @ag-ui/client`; AOS_URL and AOS_KEY point
// elsewhere. node examples/ag_ui_client.mjs [AGENT]
import { HttpAgent, randomUUID } from "@ag-ui/client";

const url = process.env.AOS_URL || "http://127.0.0.1:7071";
const headers = { "x-functions-key": process.env.AOS_KEY ?? "" };
const agent = new HttpAgent({ url: `${url}/api/ag-ui/${process.argv[2] ?? "ceo"}`, headers });
const tools = [{ name: "get_time", description: "The user's time.", parameters: { type: "object" } }];
agent.addMessage({ id: randomUUID(), role: "user", content: "What should we do first?" });

for (let pending = null; pending === null || pending.length; ) {
  pending = [];
  const on = {
    onTextMessageContentEvent: ({ event }) => void process.stdout.write(event.delta),
    onRunFinishedEvent: ({ pendingToolCallIds }) => void (pending = pendingToolCallIds ?? []),
  };
  await agent.runAgent({ tools }, on); // a run that leaves calls is followed by one with results
  for (const toolCallId of pending) {
    agent.addMessage({ id: randomUUID(), role: "tool", toolCallId, content: `${new Date()}` });
  }
}
console.log();
