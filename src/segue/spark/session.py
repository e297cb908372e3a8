"""A Spark session, and what must be there for one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from segue.errors import MissingExtraError, SettingError

OLDEST = (4, 0)
JAVA = (17, 21)  # what Spark 4 runs on
ADVICE = (
    "Spark 4 runs on Java 17 or 21: install one (Debian and Ubuntu: apt-get install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17; elsewhere: adoptium.net) and, if it is not on the PATH, set JAVA_HOME"
)


def session(master: str | None = None, name: str = "segue") -> Any:
    """Return the running Spark session, or begin one on `master`, such as "local[*]" or "spark://host:7077".

    Raises `MissingExtraError` without pyspark, `SettingError` without a Java that it runs on, or for another
    master than that of a session that is running already.
    """
    check_spark()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        theirs = running.sparkContext.master
        if master not in (None, theirs):
            raise SettingError(
                f"a Spark session runs on {theirs} already; stop it, or leave out the master {master!r}"
            )
        return running
    check_java()
    builder = SparkSession.builder.appName(name)
    if master is not None:
        builder = builder.master(master)
        if master.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark asks the PATH for python3
    return builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()


def check_spark() -> None:
    """Raise unless pyspark and pyarrow are there, and new enough."""
    try:
        import pyarrow as pa  # noqa: F401
        import pyspark
    except ImportError as error:
        raise MissingExtraError(
            f'Spark needs pyspark and pyarrow ({error}): pip install "segue[spark]"'
        ) from error
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    found = tuple(int(part) for part in re.findall(r"\d+", pyspark.__version__)[:2])
    if found < OLDEST:
        raise SettingError(
            f"pyspark {pyspark.__version__} is too old; segue works with {OLDEST[0]}.{OLDEST[1]} and later: "
            'pip install "pyspark>=4"'
        )


def check_java() -> None:
    """Raise unless there is a Java that Spark runs on."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).exists():
        where = f"JAVA_HOME={home} holds no bin/java" if home else "no java was found on the PATH"
        raise SettingError(f"{where}; {ADVICE}")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if found is None or int(found[1]) < JAVA[0]:
        version = found[1] if found else "of no version that it tells"
        raise SettingError(f"{java} is Java {version}; {ADVICE}")
