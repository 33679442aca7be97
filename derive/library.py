"""Ready-made specs: functions that return a `Model`. Imported by users; the specs stand in ``library_*.py``."""

from __future__ import annotations

from derive.library_linear import linear_network
from derive.library_teacher import teacher_student

__all__ = ["linear_network", "teacher_student"]
