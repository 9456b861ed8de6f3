// Runs an agent with @ag-ui/client. Arguments: URL, thread. Each line of the input is a turn as JSON:
// {"say": text}, or {"answers": [payload, …]} for the interrupts of the last run, or {} after the page
// was loaded again. Prints each event as {"event": …}, and after a turn
// {"done": {"messages", "interrupts", "error"}}.
import { createInterface } from "node:readline";
import { HttpAgent, buildResumeArray, randomUUID } from "@ag-ui/client";

const [url, threadId] = process.argv.slice(2);
const agent = new HttpAgent({ url, threadId });
const tell = (said) => console.log(JSON.stringify(said));

for await (const line of createInterface({ input: process.stdin })) {
  const turn = JSON.parse(line);
  const more = {};
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
      onRunErrorEvent: ({ event }) => (error = event.message),
    });
  } catch (failed) {
    error ??= String(failed);
  }
  tell({ done: { messages: agent.messages, interrupts: agent.pendingInterrupts, error } });
}
