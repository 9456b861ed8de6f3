// Runs an agent with @ag-ui/client. Arguments: URL, thread. Each line of the input is a turn as JSON:
// {"say": text}, or {"answers": [payload, …]} for the interrupts of the last run, or {} after the page
// was loaded again. {"results": [text, …]} are those of the page's own tools ("tools"), for the calls
// that the last run left. Prints each event as {"event": …}, and after a turn
// {"done": {"messages", "interrupts", "pending", "error"}}.
import { createInterface } from "node:readline";
import { HttpAgent, buildResumeArray, randomUUID } from "@ag-ui/client";

const [url, threadId] = process.argv.slice(2);
const agent = new HttpAgent({ url, threadId });
let tools;
let pending = [];
const tell = (said) => console.log(JSON.stringify(said));

for await (const line of createInterface({ input: process.stdin })) {
  const turn = JSON.parse(line);
  tools = turn.tools ?? tools;
  const more = tools ? { tools } : {};
  for (const [place, content] of (turn.results ?? []).entries()) {
    agent.addMessage({ id: randomUUID(), role: "tool", toolCallId: pending[place], content });
  }
  if (turn.say !== undefined) {
    agent.addMessage({ id: randomUUID(), role: "user", content: turn.say });
  } else if (turn.answers !== undefined) {
    const asked = agent.pendingInterrupts;
    const answers = asked.map(({ id }, place) => [
      id,
      { status: "resolved", payload: turn.answers[place] },
    ]);
    more.resume = buildResumeArray(asked, Object.fromEntries(answers));
  }
  let error = null;
  try {
    await agent.runAgent(more, {
      onEvent: ({ event }) => tell({ event }),
      onRunFinishedEvent: ({ pendingToolCallIds }) => void (pending = pendingToolCallIds ?? []),
      onRunErrorEvent: ({ event }) => (error = event.message),
    });
  } catch (failed) {
    error ??= String(failed);
  }
  tell({ done: { messages: agent.messages, interrupts: agent.pendingInterrupts, pending, error } });
}
