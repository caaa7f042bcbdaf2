"""The quick start: a clinic's engine releases statistics about 569 real patients through a running service.

``python -m serve_app.quickstart`` plays it over HTTP, as any engine would.
"""
