"""Runs units of work: loads the inputs, runs the pipeline, saves the products, says how it went."""

from zsds.runner.run import Finished, Task, run_chain

__all__ = ["Finished", "Task", "run_chain"]
