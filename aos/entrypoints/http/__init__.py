"""How does an HTTP request become an answer? Requests in, service, response out."""
