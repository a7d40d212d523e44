"""The planner in a process or on a machine of its own."""
