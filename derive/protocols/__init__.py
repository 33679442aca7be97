"""Phases that follow each other in time, and schedules of controls."""
