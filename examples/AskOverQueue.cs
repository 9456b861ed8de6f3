// Ask an agent over Service Bus from C#, and take the reply that belongs to the request.
//
// dotnet add package Azure.Messaging.ServiceBus; AZURE_SERVICEBUS_CONNECTION_STRING names the bus.
using System.Text.Json;
using Azure.Messaging.ServiceBus;

await using var bus = new ServiceBusClient(
    Environment.GetEnvironmentVariable("AZURE_SERVICEBUS_CONNECTION_STRING"));
var id = Guid.NewGuid().ToString(); // the idempotency key: better an order number of yours
await bus.CreateSender("aos-requests").SendMessageAsync(new ServiceBusMessage("""
    {"version": 1, "agent_id": "ceo", "message": "What should we do first?"}
    """) { ContentType = "application/json", MessageId = id, CorrelationId = id });

var replies = bus.CreateReceiver("businessinfinity-responses");
var end = DateTime.UtcNow.AddMinutes(1);
for (var found = false; !found && DateTime.UtcNow < end;)
    foreach (var reply in await replies.ReceiveMessagesAsync(20, TimeSpan.FromSeconds(1)))
    {
        if (reply.CorrelationId != id) { await replies.AbandonMessageAsync(reply); continue; }
        using var run = JsonDocument.Parse(reply.Body.ToMemory());
        Console.WriteLine(run.RootElement.GetProperty("output").GetString());
        await replies.CompleteMessageAsync(reply);
        found = true;
    }
