"""The process of a command: `segue` and `python -m segue`."""

import gc

RARELY = (100_000, 50, 50)  # new objects before Python looks for cycles, of which short commands leave few


def run() -> None:
    """Run the command line, without looking again and again through what the imports make."""
    gc.disable()
    from segue.cli import main

    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()
    try:
        main()
    finally:
        gc.freeze()  # the process ends and takes everything along


if __name__ == "__main__":
    run()
