"""The service without HTTP: lists, items, users and events, model versions."""
