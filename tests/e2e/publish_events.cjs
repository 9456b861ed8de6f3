// Publishes the same CloudEvent twice on agent-events, by Microsoft's own SDK for JavaScript.
// Arguments: connection string, mode (structured or binary), the event as JSON.
const { ServiceBusClient } = require("@azure/service-bus");

async function main([connection, mode, json]) {
  const event = JSON.parse(json);
  const { data, ...attributes } = event;
  const named = Object.entries(attributes).map(([name, value]) => [`cloudEvents:${name}`, value]);
  const message =
    mode === "structured"
      ? { body: event, contentType: "application/cloudevents+json" }
      : { body: data, contentType: "application/json", applicationProperties: Object.fromEntries(named) };
  const client = new ServiceBusClient(connection);
  const sender = client.createSender("agent-events");
  await sender.sendMessages(message);
  await sender.sendMessages(message);
  await sender.close();
  await client.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
