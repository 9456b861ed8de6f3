"""How is a Service Bus message handled and settled? Message in, service, settlement out."""
