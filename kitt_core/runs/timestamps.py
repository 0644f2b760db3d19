"""Times as KITT reads and writes them: aware, UTC, fixed width."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

__all__ = ["format_utc", "parse_timestamp", "to_utc"]


def to_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; a naive one is read as UTC.

    Raises:
        ValueError: The instant lies outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{moment.isoformat()} lies outside the years 1 to 9999 in UTC") from error


def parse_timestamp(text: str | date) -> datetime:
    """Return the instant given by an ISO 8601 text, a date or a datetime.

    Raises:
        ValueError: It is not one of these.
    """
    if isinstance(text, str):
        return to_utc(datetime.fromisoformat(text.strip()))
    if isinstance(text, datetime):
        return to_utc(text)
    return datetime.combine(text, time(), UTC)


def format_utc(moment: datetime) -> str:
    """Return ``YYYY-MM-DDTHH:MM:SS.ffffff+00:00``: text of fixed width that sorts chronologically."""
    if moment.tzinfo is not UTC:
        moment = to_utc(moment)
    return moment.isoformat(timespec="microseconds")
