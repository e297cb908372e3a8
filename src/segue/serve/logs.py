"""Logs of the service: a line for each event, plain or as JSON."""

from __future__ import annotations

import json
import logging
from typing import Any

FORMATS = ("text", "json")


class JsonLine(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and the error where there is one."""

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


def logging_of(format_: str, access: bool) -> dict[str, Any]:
    """Return the settings of `logging` for a service: everything goes to the error stream."""
    formatter: dict[str, Any] = {"format": "%(asctime)s %(levelname)s %(message)s"}
    if format_ == "json":
        formatter = {"()": JsonLine}
    level = {"level": "INFO", "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "segue": level,
            "uvicorn.error": level,
            "uvicorn.access": {**level, "level": "INFO" if access else "ERROR"},
        },
    }
