"""The calendar of a trial: what a month is, and KarMMa's visits."""

from __future__ import annotations

MONTH = 30.4375
"""Days of a month, a twelfth of 365.25."""

# Monthly to month 6, then every third month to 24, on the days KarMMa drew blood for the transgene (exposure-response
# paper); that responses were assessed on the same months, from day 28 on, is assumed.
_LATER_MONTHS = (2, 3, 4, 5, 6, 9, 12, 15, 18, 21, 24)

KARMMA_RESPONSE = (28.0, *(MONTH * month for month in _LATER_MONTHS))
"""Days of response assessments."""

KARMMA_KINETICS = (2.0, 4.0, 7.0, 9.0, 11.0, 14.0, 21.0, MONTH, *(MONTH * month for month in _LATER_MONTHS))
"""Days of transgene samples."""
