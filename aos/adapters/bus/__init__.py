"""Service Bus behind the port `Bus`. Entry point: `service_bus.AzureBus`."""
