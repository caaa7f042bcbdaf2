"""A suite that an engine's author runs against their own adapter: ``python -m serve_app.client.conformance NAME``.

`suite.check` is the same for a test of one's own.
"""
