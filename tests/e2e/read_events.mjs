// Reads the events of a run with eventsource-parser, and comes again with Last-Event-ID when it is
// cut, until the run has ended. Arguments: URL. Prints each event as a line of JSON.
import { createParser } from "eventsource-parser";

const ENDS = new Set(["run.completed", "run.failed", "run.cancelled", "run.timed_out"]);
const [url] = process.argv.slice(2);
let last = null;
let ended = false;

async function read() {
  const headers = { Accept: "text/event-stream" };
  if (last !== null) headers["Last-Event-ID"] = last;
  const answer = await fetch(url, { headers });
  if (answer.status === 204) ended = true;
  if (answer.status !== 200) return;
  const parser = createParser({
    onEvent({ id, event, data }) {
      last = id;
      ended ||= ENDS.has(event);
      console.log(JSON.stringify({ id, event, data: JSON.parse(data) }));
    },
  });
  const decoder = new TextDecoder();
  for await (const piece of answer.body) parser.feed(decoder.decode(piece, { stream: true }));
}

while (!ended) {
  try {
    await read();
  } catch {
    // cut, or main is not there: come again
  }
  if (!ended) await new Promise((wake) => setTimeout(wake, 200));
}
