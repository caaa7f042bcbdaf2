"""The reference for people, written from the code that it is about: `python -m serve_app.reference docs/reference`."""
