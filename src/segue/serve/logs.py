"""Logging of the service: one line per event, as text or as JSON."""

from __future__ import annotations

import json
import logging

FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, process, and error if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def logging_config(log_format: str, access: bool) -> dict[str, object]:
    """Return a configuration for `logging.config.dictConfig`: all loggers write to stderr.

    Args:
        log_format: "text" or "json".
        access: whether to log each request.
    """
    formatter: dict[str, object] = {"format": "%(asctime)s %(levelname)s %(message)s"}
    if log_format == "json":
        formatter = {"()": JsonFormatter}
    logger = {"level": "INFO", "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "segue": logger,
            "uvicorn.error": logger,
            "uvicorn.access": {**logger, "level": "INFO" if access else "ERROR"},
        },
    }
