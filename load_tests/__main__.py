"""`python -m load_tests`, which `domicile load` runs: the harness in a process of its own."""

from load_tests.conductor.command import run

if __name__ == "__main__":
    run(prog_name="domicile load")
