// Ask an agent over Service Bus from JavaScript, and take the reply that belongs to the request.
//
// Needs a running AOS (`make run`) and `npm install @azure/service-bus`; the variable
// AZURE_SERVICEBUS_CONNECTION_STRING points elsewhere. node examples/ask_over_queue.mjs [AGENT]
import { ServiceBusClient } from "@azure/service-bus";

const LAPTOP =
  "Endpoint=sb://127.0.0.1;SharedAccessKeyName=RootManageSharedAccessKey;" +
  "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;";
const bus = new ServiceBusClient(process.env.AZURE_SERVICEBUS_CONNECTION_STRING || LAPTOP);
const messageId = crypto.randomUUID(); // the idempotency key: better an order number of yours
await bus.createSender("aos-requests").sendMessages({
  body: { version: 1, agent_id: process.argv[2] ?? "ceo", message: "What should we do first?" },
  contentType: "application/json",
  messageId,
  correlationId: messageId,
});
const replies = bus.createReceiver("businessinfinity-responses");
for (let found = false, end = Date.now() + 60_000; !found && Date.now() < end; ) {
  for (const reply of await replies.receiveMessages(20, { maxWaitTimeInMs: 1000 })) {
    found ||= reply.correlationId === messageId;
    if (reply.correlationId !== messageId) await replies.abandonMessage(reply);
    else await replies.completeMessage(reply);
    if (reply.correlationId === messageId) console.log(`${reply.body.type}: ${reply.body.output}`);
  }
}
await bus.close();
