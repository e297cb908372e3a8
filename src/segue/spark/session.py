"""Start a Spark session; check that pyspark, pyarrow and Java are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from segue.errors import MissingExtraError, SettingError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MIN_PYSPARK = (4, 0)
MIN_JAVA = 17
ADVICE = (
    "Spark 4 runs on Java 17 or 21: install one (Debian and Ubuntu: apt-get install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17; elsewhere: adoptium.net) and, if it is not on the PATH, set JAVA_HOME"
)


def session(master: str | None = None, name: str = "segue") -> SparkSession:
    """Return the running Spark session, or start one.

    Args:
        master: where to start it, such as "local[*]" or "spark://host:7077"; None for Spark's default.
        name: the name of the application, for a new session.

    Raises `MissingExtraError` if pyspark is not installed, `SettingError` if no suitable Java is installed or
    a session runs on another master.
    """
    check_spark()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        running_master = running.sparkContext.master
        if master not in (None, running_master):
            raise SettingError(
                f"a Spark session runs on {running_master} already; stop it, or leave out master={master!r}",
                arguments=("master",),
            )
        return running
    check_java()
    builder = SparkSession.builder.appName(name)
    if master is not None:
        builder = builder.master(master)
        if master.startswith("local"):
            os.environ.setdefault(
                "PYSPARK_PYTHON", sys.executable
            )  # otherwise Spark runs python3 of the PATH
    return builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()


def check_spark() -> None:
    """Raise unless pyspark and pyarrow are installed and pyspark is new enough."""
    try:
        import pyarrow as pa  # noqa: F401
        import pyspark
    except ImportError as error:
        raise MissingExtraError(
            f'Spark needs pyspark and pyarrow ({error}): pip install "segue[spark]"'
        ) from error
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    version = tuple(int(part) for part in re.findall(r"\d+", pyspark.__version__)[:2])
    if version < MIN_PYSPARK:
        raise SettingError(
            f"pyspark {pyspark.__version__} is too old; segue works with {MIN_PYSPARK[0]}.{MIN_PYSPARK[1]} "
            'and later: pip install "pyspark>=4"'
        )


def check_java() -> None:
    """Raise `SettingError` unless a Java that Spark supports is installed."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).exists():
        where = f"JAVA_HOME={home} holds no bin/java" if home else "no java was found on the PATH"
        raise SettingError(f"{where}; {ADVICE}")
    completed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(\d+)', completed.stderr + completed.stdout)
    if version is None or int(version[1]) < MIN_JAVA:
        release = f"Java {version[1]}" if version else "Java of an unknown version"
        raise SettingError(f"{java} is {release}; {ADVICE}")
