"""How many examples a test draws."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings


def examples(most: int, **more: Any) -> settings:
    """Draw so many with `make test-drawn`, and a third of them, always the same, otherwise.

    For tests of a sweep or a training an example, which use folders of their own.
    """
    is_drawn = settings.get_current_profile_name() == "drawn"
    return settings(
        max_examples=most if is_drawn else max(most // 3, 1),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        **more,
    )
