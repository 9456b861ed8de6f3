"""Sends and receives through Azure Service Bus. Entry point: `service_bus.AzureBus`."""
