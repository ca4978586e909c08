"""Which of the two languages a caller reads (RFC 9110 section 12.5.4)."""

from functools import lru_cache

_LONGEST = 256  # beyond this nobody states a preference; it keeps the memo small


def choose_language(accept: str | None, *, default: str) -> str:
    """Return `zh` or `en`: the one of the header with the highest weight, the earlier on a tie, else *default*."""
    if not accept or len(accept) > _LONGEST:
        return default
    return _parse(accept) or default


@lru_cache(maxsize=256)
def _parse(accept: str) -> str:
    best, best_weight = "", 0.0
    for part in accept.split(","):
        tag, _, parameters = part.partition(";")
        primary = tag.strip().partition("-")[0].lower()
        if primary not in {"zh", "en"}:
            continue
        weight = _weight(parameters)
        if weight > best_weight:
            best, best_weight = primary, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0  # nan fails both comparisons
