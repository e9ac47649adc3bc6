"""Where the trainings of a search run: processes of this machine, or a Ray cluster."""

from edgetran_host.engine.engine import Engine, Task, WorkerDied
from edgetran_host.engine.opening import ENGINES, open_engine

__all__ = ["ENGINES", "Engine", "Task", "WorkerDied", "open_engine"]
