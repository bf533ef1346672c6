"""What all tests share: property tests that take little time and leave nothing behind."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "project", max_examples=120, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")
