"""How many decimal places records have."""

SCORE_DIGITS = 5
TIME_DIGITS = 3  # of seconds
