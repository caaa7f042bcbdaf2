"""What the OpenAPI document says beside what the routes say themselves. Nothing here decides about a request."""
